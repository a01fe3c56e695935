import type { Clock, Random } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { Lease, Leases } from "#libs/locks";
import type { OperationRecord } from "./operation-record.ts";

const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 250;
const WITHOUT_REDIS_MS = 50;
const NEVER = new AbortController().signal;

/**
 * Leases on the targets of operations. They keep workers from racing for the same work; the claim in the log decides.
 * So a Redis that is away costs a short wait, and one that never gives a lease back is not believed for long.
 */
export class TargetLeases {
  readonly #deps: { readonly leases: Leases; readonly clock: Clock; readonly random: Random; readonly ttlMs: number };

  constructor(deps: { leases: Leases; clock: Clock; random: Random; ttlMs: number }) {
    this.#deps = deps;
  }

  /**
   * Does the work under the lease on the operation's target, without one when it has none. `lost` aborts when the lease
   * is gone. Fails with TARGET_BUSY when another worker holds it for one ttl; after three of silence it is ignored.
   */
  async during(
    { target }: OperationRecord,
    silentMs: number,
    signal: AbortSignal,
    work: (lost: AbortSignal) => Promise<void>,
  ): Promise<void> {
    if (target === "") return await work(NEVER);
    const lease = await this.#acquire(target, silentMs, signal);
    try {
      await work(lease?.signal ?? NEVER);
    } finally {
      await lease?.release();
    }
  }

  async #acquire(target: string, silentMs: number, signal: AbortSignal): Promise<Lease | undefined> {
    const { leases, clock, random, ttlMs } = this.#deps;
    const start = clock.monotonicMs();
    let pauseMs = FIRST_PAUSE_MS;
    while (clock.monotonicMs() - start < ttlMs) {
      try {
        const lease = await leases.acquire(`target:${target}`, ttlMs);
        if (lease !== undefined) return lease;
      } catch {
        await clock.sleep(WITHOUT_REDIS_MS, signal);
        return undefined;
      }
      if (silentMs >= 3 * ttlMs) return undefined;
      await clock.sleep(pauseMs * (0.5 + random.next()), signal);
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    }
    throw new StillpointError("TARGET_BUSY", `another worker holds the lease on ${target}`);
  }
}
