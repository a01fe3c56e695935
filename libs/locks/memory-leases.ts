import type { Clock, Random } from "#libs/clock";
import type { Lease, Leases } from "./leases.ts";
import { type LeaseStore, RenewedLease } from "./renewed-lease.ts";

interface Held {
  readonly token: string;
  readonly untilMs: number;
}

/** Leases in memory, for tests and the simulator. */
export class MemoryLeases implements Leases, LeaseStore {
  readonly #held = new Map<string, Held>();
  readonly #deps: { readonly clock: Clock; readonly random: Random };

  constructor(deps: { readonly clock: Clock; readonly random: Random }) {
    this.#deps = deps;
  }

  async acquire(key: string, ttlMs: number): Promise<Lease | undefined> {
    const { clock, random } = this.#deps;
    if (this.#holder(key) !== undefined) return undefined;
    const token = random.id("lease");
    this.#hold(key, token, ttlMs);
    return new RenewedLease({ key, token, ttlMs, store: this, clock });
  }

  async renew(key: string, token: string, ttlMs: number): Promise<boolean> {
    const holder = this.#holder(key);
    if (holder !== undefined && holder !== token) return false;
    this.#hold(key, token, ttlMs);
    return true;
  }

  async release(key: string, token: string): Promise<void> {
    if (this.#holder(key) === token) this.#held.delete(key);
  }

  /** Forgets everything, as a Redis does that has lost its data. */
  flush(): void {
    this.#held.clear();
  }

  #hold(key: string, token: string, ttlMs: number): void {
    this.#held.set(key, { token, untilMs: this.#deps.clock.monotonicMs() + ttlMs });
  }

  #holder(key: string): string | undefined {
    const held = this.#held.get(key);
    return held !== undefined && held.untilMs > this.#deps.clock.monotonicMs() ? held.token : undefined;
  }
}
