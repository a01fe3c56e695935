import { type Clock, systemClock } from "#libs/clock";
import { isStillpointError } from "#libs/errors";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
/** A registry that restarts or moves is back by then. */
const PATIENCE_MS = 300_000;

/**
 * Goes on trying while a registry is away, with growing pauses, until nothing has succeeded for 5 minutes. Pieces of
 * one transfer share one: each that succeeds shows that the registry is there.
 */
export class Patience {
  readonly #clock: Clock;
  #succeededMs: number;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
    this.#succeededMs = clock.monotonicMs();
  }

  /** Does `work`, again where it fails because the registry is away. */
  async outlast<Result>(signal: AbortSignal, work: () => Promise<Result>): Promise<Result> {
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      try {
        const result = await work();
        this.#succeededMs = this.#clock.monotonicMs();
        return result;
      } catch (error) {
        const isOver = this.#clock.monotonicMs() - this.#succeededMs >= PATIENCE_MS;
        if (isOver || !isAway(error)) throw error;
        await this.#clock.sleep(pauseMs, signal);
      }
    }
  }
}

function isAway(error: unknown): boolean {
  return isStillpointError(error, "REGISTRY_UNREACHABLE") || isStillpointError(error, "UNAVAILABLE");
}
