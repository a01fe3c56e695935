import type { Clock } from "#libs/clock";
import type { Lease } from "./leases.ts";

/** What a store of leases does for one of them. */
export interface LeaseStore {
  /** True when it is still, or again, held by this token; fails when the store gives no answer. */
  renew(key: string, token: string, ttlMs: number): Promise<boolean>;
  release(key: string, token: string): Promise<void>;
}

/** Keeps a lease alive and knows when it is lost, before its store does. */
export class RenewedLease implements Lease {
  readonly key: string;
  readonly token: string;
  readonly #store: LeaseStore;
  readonly #clock: Clock;
  readonly #ttlMs: number;
  readonly #lost = new AbortController();
  readonly #released = new AbortController();

  constructor(options: { key: string; token: string; ttlMs: number; store: LeaseStore; clock: Clock }) {
    this.key = options.key;
    this.token = options.token;
    this.#ttlMs = options.ttlMs;
    this.#store = options.store;
    this.#clock = options.clock;
    void this.#renewAlways();
  }

  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  async release(): Promise<void> {
    if (this.#released.signal.aborted) return;
    this.#released.abort();
    // Without an answer it runs out by itself.
    await this.#store.release(this.key, this.token).catch(() => undefined);
  }

  async #renewAlways(): Promise<void> {
    let heldAtMs = this.#clock.monotonicMs();
    let pauseMs = this.#ttlMs / 3;
    while (await this.#pause(pauseMs)) {
      const askedAtMs = this.#clock.monotonicMs();
      const held = await this.#renew();
      if (held === true) heldAtMs = askedAtMs;
      const isLate = this.#clock.monotonicMs() - heldAtMs > this.#ttlMs * 0.6;
      if (held === false || isLate) return this.#lose();
      pauseMs = this.#ttlMs / (held === true ? 3 : 10);
    }
  }

  #lose(): void {
    if (!this.#released.signal.aborted) this.#lost.abort(new Error(`the lease on ${this.key} is lost`));
  }

  /** Undefined when the store gave no answer. */
  async #renew(): Promise<boolean | undefined> {
    try {
      return await this.#store.renew(this.key, this.token, this.#ttlMs);
    } catch {
      return undefined;
    }
  }

  async #pause(ms: number): Promise<boolean> {
    try {
      await this.#clock.sleep(ms, this.#released.signal);
      return true;
    } catch {
      return false;
    }
  }
}
