interface Running<Result> {
  readonly result: Promise<Result>;
  readonly abandoned: AbortController;
  waiters: number;
}

/**
 * Work that several callers want at the same time is done once. A caller's signal ends its own waiting; the work is
 * aborted when nobody waits any more.
 */
export class SharedWork<Result> {
  readonly #running = new Map<string, Running<Result>>();

  async share(
    key: string,
    signal: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    signal?.throwIfAborted();
    const running = this.#running.get(key) ?? this.#start(key, work);
    running.waiters += 1;
    const left = Promise.withResolvers<never>();
    const leave = () => {
      running.waiters -= 1;
      if (running.waiters > 0) left.reject(signal?.reason);
      else this.#abandon(key, running, signal?.reason);
    };
    signal?.addEventListener("abort", leave, { once: true });
    try {
      return await Promise.race([running.result, left.promise]);
    } finally {
      signal?.removeEventListener("abort", leave);
    }
  }

  #start(key: string, work: (signal: AbortSignal) => Promise<Result>): Running<Result> {
    const abandoned = new AbortController();
    const result = work(abandoned.signal).finally(() => this.#forget(key, running));
    const running: Running<Result> = { result, abandoned, waiters: 0 };
    this.#running.set(key, running);
    return running;
  }

  /** The last one to leave waits until the work has cleaned up. */
  #abandon(key: string, running: Running<Result>, reason: unknown): void {
    this.#forget(key, running);
    running.abandoned.abort(reason);
  }

  #forget(key: string, running: Running<Result>): void {
    if (this.#running.get(key) === running) this.#running.delete(key);
  }
}
