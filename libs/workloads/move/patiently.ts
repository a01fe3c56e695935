import type { Clock } from "#libs/clock";
import { isStillpointError, type Reason, type StillpointError } from "#libs/errors";

export interface Patience {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** By this worker's own clock; another one that takes over begins to wait anew. */
  readonly forMs: number;
  /** Asked before each further try. */
  readonly isHopeless?: () => Promise<boolean>;
  readonly told?: (error: StillpointError) => void;
}

const passing: ReadonlySet<Reason> = new Set([
  ...(["HOST_UNREACHABLE", "DEADLINE_EXCEEDED", "ENGINE_UNAVAILABLE", "LEASE_EXPIRED"] as const),
  "START_UNCONFIRMED" as const,
]);
const againAfterMs = 1_000;

/** A host does not answer, or cannot do it now; it may later. */
export function mayPass(error: unknown): error is StillpointError {
  return isStillpointError(error) && passing.has(error.reason);
}

/** Tries again what a host cannot do now, once a second. Fails with the last failure. */
export async function patiently<Result>(patience: Patience, work: () => Promise<Result>): Promise<Result> {
  const { clock, signal, forMs, isHopeless, told } = patience;
  const untilMs = clock.monotonicMs() + forMs;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (signal.aborted || !mayPass(error) || clock.monotonicMs() >= untilMs) throw error;
      if ((await isHopeless?.()) === true) throw error;
      told?.(error);
    }
    await clock.sleep(againAfterMs, signal);
  }
}
