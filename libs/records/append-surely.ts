import type { Clock } from "#libs/clock";
import { isLasting, isStillpointError, type StillpointError } from "#libs/errors";
import type { Log } from "./log.ts";

/** One write whose outcome has to be known. */
export interface SureWrite {
  readonly subject: string;
  /** Has to differ from every other write to the subject: it is compared when the answer was lost. */
  readonly data: Uint8Array;
  readonly expectedSequence: number;
  readonly messageId: string;
}

export interface Patience {
  readonly clock: Clock;
  /** How long to go on while the log does not answer; Infinity is allowed, and alone waits for somebody to act. */
  readonly forMs: number;
  readonly signal?: AbortSignal;
}

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2_000;

/**
 * Appends until it is known whether the message is there: the same message id and the same expected sequence make
 * every repetition harmless. Gives the sequence; fails with RECORD_CONFLICT when another write came first, and with
 * what the log said last when its patience ends.
 */
export async function appendSurely(log: Log, write: SureWrite, patience: Patience): Promise<number> {
  const { clock, forMs, signal } = patience;
  const start = clock.monotonicMs();
  let isRepeated = false;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    try {
      return await appendOnce(log, write, isRepeated);
    } catch (error) {
      const isTooLong = clock.monotonicMs() - start + pauseMs > forMs || (isLasting(error) && Number.isFinite(forMs));
      if (!isUnanswered(error) || isTooLong) throw error;
    }
    isRepeated = true;
    await clock.sleep(pauseMs, signal);
  }
}

/** True when the log gave no usable answer, so that the same write may be tried again. */
export function isUnanswered(error: unknown): boolean {
  return isStillpointError(error, "OUTCOME_UNKNOWN") || isStillpointError(error, "UNAVAILABLE");
}

async function appendOnce(log: Log, write: SureWrite, isRepeated: boolean): Promise<number> {
  const { subject, data, expectedSequence, messageId } = write;
  try {
    return await log.append(subject, data, { expectedSequence, messageId });
  } catch (error) {
    if (!isRepeated || !isStillpointError(error, "RECORD_CONFLICT")) throw error;
    return await findOwn(log, write, error);
  }
}

/**
 * A conflict after a lost answer, or after that of a leader which stepped down, may be with our own message, when the log
 * no longer remembers its id.
 */
async function findOwn(log: Log, write: SureWrite, conflict: StillpointError): Promise<number> {
  const newest = await log.read(write.subject);
  if (newest !== undefined && Buffer.compare(newest.data, write.data) === 0) return newest.sequence;
  throw conflict;
}
