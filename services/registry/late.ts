import type { Clock } from "#libs/clock";

/** What is there some time after the start, because it waits for a server that may be away. */
export class Late<Value> {
  readonly #coming: Promise<Value>;
  readonly #signal: AbortSignal;
  #now: Value | undefined;

  /** @param signal ends the waiting: it does not come any more */
  constructor(coming: Promise<Value>, signal: AbortSignal) {
    this.#signal = signal;
    this.#coming = Promise.race([coming, rejectedBy(signal)]);
    this.#coming.then(
      (value) => {
        this.#now = value;
      },
      () => {},
    );
  }

  /** Undefined as long as it has not come. */
  get now(): Value | undefined {
    return this.#now;
  }

  /** What follows from it. */
  map<Next>(next: (value: Value) => Promise<Next> | Next): Late<Next> {
    return new Late(this.#coming.then(next), this.#signal);
  }

  /** Waits for it, so long at most. Fails when it cannot come. */
  async wait(ms: number, clock: Clock): Promise<void> {
    const awake = new AbortController();
    const asleep = clock.sleep(ms, AbortSignal.any([awake.signal, this.#signal])).catch(() => {});
    await Promise.race([this.#coming, asleep]).finally(() => awake.abort());
  }

  /** Tells why it does not come, should it fail. */
  onFailure(tell: (error: unknown) => void): void {
    this.#coming.catch((error: unknown) => {
      if (!this.#signal.aborted) tell(error);
    });
  }
}

function rejectedBy(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}
