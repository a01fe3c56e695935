import type { Clock } from "#libs/clock";
import { isStillpointError } from "#libs/errors";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

/**
 * Goes on trying while a registry is away, with growing pauses, until nothing has succeeded for `patienceMs`. Pieces of
 * one transfer share one: each that succeeds shows that the registry is there.
 */
export class Patience {
  readonly #clock: Clock;
  readonly #patienceMs: number;
  #succeededMs: number;

  constructor({ clock, patienceMs }: { readonly clock: Clock; readonly patienceMs: number }) {
    this.#clock = clock;
    this.#patienceMs = patienceMs;
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
        const isOver = this.#clock.monotonicMs() - this.#succeededMs >= this.#patienceMs;
        if (isOver || !isAway(error)) throw error;
        await this.#clock.sleep(pauseMs, signal);
      }
    }
  }
}

function isAway(error: unknown): boolean {
  return isStillpointError(error, "REGISTRY_UNREACHABLE") || isStillpointError(error, "UNAVAILABLE");
}
