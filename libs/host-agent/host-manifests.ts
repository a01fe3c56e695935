import {
  type HostAgentClient,
  HostAgentDefinition,
  type KeepRecordsRequest,
  type ListManifestsResponse,
} from "#contracts/host/v1/agent";
import { createRpcClient } from "#libs/rpc";
import { type AddressOf, identityOf, unreachable } from "./reach-agent.ts";

/** What hosts know of their workloads. An agent is asked once, and HOST_UNREACHABLE says that it did not answer. */
export interface HostManifests {
  list(host: string, signal: AbortSignal): AsyncIterable<ListManifestsResponse>;
  /** False when the host has no files of that workload. */
  keep(host: string, request: KeepRecordsRequest, signal: AbortSignal): Promise<boolean>;
  /** Lets go of the connections. */
  close(): void;
}

type Client = HostAgentClient<{ idleTimeoutMs?: number }> & { close(): void };

const silenceMs = 20_000;

export function createHostManifests({ addressOf }: { readonly addressOf: AddressOf }): HostManifests {
  const clients = new Map<string, Client>();
  const clientOf = async (host: string): Promise<Client> => {
    const address = await addressOf(host);
    const key = `${host} ${address}`;
    const client = clients.get(key) ?? createRpcClient(HostAgentDefinition, address, { peer: identityOf(host) });
    clients.set(key, client);
    return client;
  };
  return {
    async *list(host, signal) {
      try {
        yield* (await clientOf(host)).listManifests({}, { signal, idleTimeoutMs: silenceMs });
      } catch (error) {
        throw unreachable(host, error);
      }
    },
    async keep(host, request, signal) {
      try {
        return (await (await clientOf(host)).keepRecords(request, { signal })).kept;
      } catch (error) {
        throw unreachable(host, error);
      }
    },
    close() {
      for (const client of clients.values()) client.close();
      clients.clear();
    },
  };
}
