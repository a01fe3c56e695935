import type { Clock } from "#libs/clock";

interface Kept {
  readonly tellNow: () => void;
  readonly told: Promise<void>;
}

/** One piece of news of each container at most, which is told a little later, or as soon as there is a reason to. */
export class KeptBack {
  readonly #clock: Pick<Clock, "sleep">;
  readonly #kept = new Map<string, Kept>();

  constructor(clock: Pick<Clock, "sleep">) {
    this.#clock = clock;
  }

  has(uid: string): boolean {
    return this.#kept.has(uid);
  }

  /** Calls `tell` after `ms`, or at `tellNow`. `tell` must not fail. */
  keep(uid: string, ms: number, tell: () => Promise<void>): void {
    const asked = Promise.withResolvers<void>();
    const stop = new AbortController();
    const isTime = this.#clock.sleep(ms, stop.signal).catch(() => undefined);
    const told = Promise.race([asked.promise, isTime]).then(async () => {
      stop.abort();
      await tell();
      this.#kept.delete(uid);
    });
    this.#kept.set(uid, { tellNow: asked.resolve, told });
  }

  /** Resolves when what is kept of it has been told. */
  async tellNow(uid: string): Promise<void> {
    const kept = this.#kept.get(uid);
    kept?.tellNow();
    await kept?.told;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#kept.keys()].map((uid) => this.tellNow(uid)));
  }
}
