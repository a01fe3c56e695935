import type { Clock } from "#libs/clock";
import type { Logger } from "#libs/logger";

export interface RepeatDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Runs `work` each `everyMs` until the signal aborts; a run that fails is logged, and the next one comes. */
export async function repeat(
  { clock, logger, signal }: RepeatDeps,
  everyMs: number,
  work: () => Promise<unknown>,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await clock.sleep(everyMs, signal);
      await work();
    } catch (err) {
      if (!signal.aborted) logger.warn({ err }, "work that is done from time to time failed");
    }
  }
}
