/** Those who wait until something has come as far as they need. Who waits for more than has come sleeps on. */
export class Arrivals {
  readonly #waiting = new Set<{ readonly position: number; readonly come: () => void }>();

  /** `come` resolves when that position is reached; ends with the scope in which it is asked for. */
  at(position: number): { readonly come: Promise<void> } & Disposable {
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiting = { position, come: resolve };
    this.#waiting.add(waiting);
    return { come: promise, [Symbol.dispose]: () => void this.#waiting.delete(waiting) };
  }

  reached(position: number): void {
    for (const waiting of this.#waiting) if (waiting.position <= position) waiting.come();
  }
}
