import { Metadata } from "nice-grpc-common";
import { type PlaceResult, SchedulerDefinition, type SchedulerReplica } from "#contracts/scheduler/v1/scheduler";
import type { RpcClient } from "#libs/rpc";
import { createRpcClient } from "#libs/rpc";
import type { Reservation } from "../domain/host.ts";
import { toWritten } from "../hosts/written.ts";

/** Says that another replica asks: what does not fit here is not asked of a third one. */
export const forwardedHeader = "x-stillpoint-forwarded";

/** A replica that sleeps is not waited for: what it would have answered is decided without it. */
const timeoutMs = 2_000;

/** Asks other replicas of the scheduler, over one channel to each. */
export class Forwarding {
  readonly #clients = new Map<string, RpcClient<typeof SchedulerDefinition>>();

  /** Gives what became of each wish on the replica's own hosts, in their order. */
  async placeBatch({ address }: SchedulerReplica, wishes: readonly Reservation[]): Promise<PlaceResult[]> {
    const requests = wishes.map(toWritten);
    const metadata = Metadata({ [forwardedHeader]: "1" });
    const { results } = await this.#client(address).placeBatch({ requests }, { metadata });
    return results;
  }

  /** Gives up the channels to all replicas but these. */
  keep(addresses: ReadonlySet<string>): void {
    for (const [address, client] of this.#clients) {
      if (addresses.has(address)) continue;
      this.#clients.delete(address);
      client.close();
    }
  }

  close(): void {
    this.keep(new Set());
  }

  #client(address: string): RpcClient<typeof SchedulerDefinition> {
    const client =
      this.#clients.get(address) ?? createRpcClient(SchedulerDefinition, address, { timeoutMs, peer: "svc/scheduler" });
    this.#clients.set(address, client);
    return client;
  }
}
