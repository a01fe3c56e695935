/** Lets any number of loops sleep until something happens; nobody misses a wake-up that follows a `next()`. */
export class Wakeup {
  #waiting = new Set<() => void>();

  /** Resolves at the next `wake()`, or when the signal aborts. */
  next(signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        this.#waiting.delete(done);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      this.#waiting.add(done);
      signal?.addEventListener("abort", done, { once: true });
    });
  }

  wake(): void {
    const waiting = this.#waiting;
    this.#waiting = new Set();
    for (const done of waiting) done();
  }
}
