import type { Clock, Random } from "#libs/clock";
import { isLasting } from "#libs/errors";

/** When to stop believing that a transient failure goes away. */
export interface RetryLimits {
  readonly attempts: number;
  readonly forMs: number;
}

export const usualLimits: RetryLimits = { attempts: 20, forMs: 10 * 60_000 };

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 30_000;
const LONGEST_PAUSE_IN_OUTAGE_MS = 2_000;

/**
 * How long one thing is tried again. What lasts until somebody acts counts for nothing in it: it is waited for without
 * end, as the log takes no failure meanwhile either.
 */
export class Patience {
  readonly #limits: RetryLimits;
  readonly #deps: { readonly clock: Clock; readonly random: Random };
  #attempt: number;
  #startMs: number;
  #pauseMs = FIRST_PAUSE_MS;

  constructor(limits: RetryLimits, attempt: number, deps: { readonly clock: Clock; readonly random: Random }) {
    this.#limits = limits;
    this.#deps = deps;
    this.#attempt = attempt;
    this.#startMs = deps.clock.monotonicMs();
  }

  /** True when there was another attempt too many. */
  get isExhausted(): boolean {
    return this.#attempt > this.#limits.attempts;
  }

  /** True when too much time has passed to try again after that failure. */
  isOver(error: unknown): boolean {
    return !isLasting(error) && this.#deps.clock.monotonicMs() - this.#startMs > this.#limits.forMs;
  }

  /** Counts an attempt that failed so; gives for how many milliseconds to rest before the next. */
  pauseAfter(error: unknown): number {
    const pauseMs = this.#pauseMs * (0.5 + this.#deps.random.next());
    const isOutage = isLasting(error);
    this.#pauseMs = Math.min(this.#pauseMs * 2, isOutage ? LONGEST_PAUSE_IN_OUTAGE_MS : LONGEST_PAUSE_MS);
    if (isOutage) this.#startMs = this.#deps.clock.monotonicMs();
    else this.#attempt++;
    return pauseMs;
  }
}
