import type { Clock } from "#libs/clock";
import { Wakeup } from "#libs/records";

/** So long a hint waits for room; then another worker may have it. */
const WAIT_MS = 500;

/** What a worker has in hand, or has promised to take, and how much more it may. */
export class WorkerRoom {
  /** How many operations it may have at once. */
  readonly size: number;
  readonly #clock: Clock;
  /** Operations being claimed or run, by id. */
  readonly #inHand = new Map<string, Promise<void>>();
  /** Those that are just being accepted by this process. */
  readonly #promised = new Set<string>();
  readonly #settled = new Wakeup();
  #fullSinceMs: number | undefined;

  constructor(size: number, clock: Clock) {
    this.size = size;
    this.#clock = clock;
  }

  get hasSome(): boolean {
    return this.#inHand.size + this.#promised.size < this.size;
  }

  has(id: string): boolean {
    return this.#inHand.has(id) || this.#promised.has(id);
  }

  isInHand(id: string): boolean {
    return this.#inHand.has(id);
  }

  promise(id: string): void {
    this.#promised.add(id);
  }

  /** Forgets a promise. */
  release(id: string): void {
    if (this.#promised.delete(id)) this.#settled.wake();
  }

  /** `work` never fails. */
  take(id: string, work: Promise<void>): void {
    const ended = work.finally(() => {
      this.#inHand.delete(id);
      this.#settled.wake();
    });
    this.#inHand.set(id, ended);
  }

  /** False when there is none, and has been none for a while. */
  async untilSome(signal: AbortSignal): Promise<boolean> {
    while (!this.hasSome && !signal.aborted) {
      this.#fullSinceMs ??= this.#clock.monotonicMs();
      const leftMs = this.#fullSinceMs + WAIT_MS - this.#clock.monotonicMs();
      if (leftMs <= 0) return false;
      const late = new AbortController();
      const over = this.#clock.sleep(leftMs, late.signal).catch(() => undefined);
      await Promise.race([this.#settled.next(signal), over]);
      late.abort();
    }
    this.#fullSinceMs = undefined;
    return true;
  }

  /** Resolves when all that is in hand now has settled. */
  async settled(): Promise<void> {
    await Promise.all(this.#inHand.values());
  }
}
