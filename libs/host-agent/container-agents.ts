import type {
  ContainerLogChunk,
  ContainerStats,
  ExecContainerRequest,
  ExecContainerResponse,
  GetContainerLogsRequest,
  GetContainerStatsRequest,
} from "#contracts/container/v1/container";
import { type ContainerAgentClient, ContainerAgentDefinition } from "#contracts/host/v1/container_agent";
import { createRpcClient } from "#libs/rpc";
import type { WorkloadOnHost } from "./host-agents.ts";
import { type AddressOf, identityOf, unreachable } from "./reach-agent.ts";

/** What the agents tell of containers; the agent is asked once, and HOST_UNREACHABLE says that it did not answer. */
export interface ContainerAgents {
  logs(
    at: WorkloadOnHost,
    asked: Omit<GetContainerLogsRequest, "name">,
    signal: AbortSignal,
  ): AsyncIterable<ContainerLogChunk>;
  stats(
    at: WorkloadOnHost,
    asked: Omit<GetContainerStatsRequest, "name">,
    signal: AbortSignal,
  ): AsyncIterable<ContainerStats>;
  /** Passes on all that is asked; the container of the first message is the one at `at`, whatever it says. */
  exec(
    at: WorkloadOnHost,
    asked: AsyncIterable<ExecContainerRequest>,
    signal: AbortSignal,
  ): AsyncIterable<ExecContainerResponse>;
  /** Lets go of the connections. */
  close(): void;
}

type Client = ContainerAgentClient & { close(): void };

export function createContainerAgents({ addressOf }: { readonly addressOf: AddressOf }): ContainerAgents {
  const clients = new Map<string, Client>();
  const clientOf = async (host: string): Promise<Client> => {
    const address = await addressOf(host);
    const client =
      clients.get(address) ?? createRpcClient(ContainerAgentDefinition, address, { peer: identityOf(host) });
    clients.set(address, client);
    return client;
  };
  async function* relay<Answer>(
    { host }: WorkloadOnHost,
    call: (client: Client) => AsyncIterable<Answer>,
  ): AsyncGenerator<Answer> {
    try {
      yield* call(await clientOf(host));
    } catch (error) {
      throw unreachable(host, error);
    }
  }

  return {
    logs: (at, asked, signal) => relay(at, (client) => client.getContainerLogs({ ...asked, name: at.uid }, { signal })),
    stats: (at, asked, signal) =>
      relay(at, (client) => client.getContainerStats({ ...asked, name: at.uid }, { signal })),
    exec: (at, asked, signal) => relay(at, (client) => client.execContainer(named(asked, at.uid), { signal })),
    close() {
      for (const client of clients.values()) client.close();
      clients.clear();
    },
  };
}

/** What is asked, with the agent's name for the container. */
async function* named(asked: AsyncIterable<ExecContainerRequest>, uid: string): AsyncGenerator<ExecContainerRequest> {
  for await (const message of asked) {
    yield message.start === undefined ? message : { ...message, start: { ...message.start, name: uid } };
  }
}
