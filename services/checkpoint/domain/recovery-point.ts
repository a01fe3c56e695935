/**
 * When the next recovery point of a workload is due. One is due an interval after the last began, the first as soon as
 * the workload runs; one that failed is tried again after a minute, or the interval where that is shorter.
 */
export interface Standing {
  /** Of the newest point; undefined before the first. */
  readonly pointTime: Date | undefined;
  /** When points were asked for first. */
  readonly since: Date;
  /** When the last attempt began; undefined before the first. */
  readonly attemptTime: Date | undefined;
  /** The last attempt failed. */
  readonly hasFailed: boolean;
}

const retryMs = 60_000;
/** Clocks differ, but not by more: what began so late in the future was told by a clock that has been set right since. */
const skewMs = 60_000;

export const defaultIntervalMs = 15 * 60_000;

export function isDue({ attemptTime, hasFailed }: Standing, now: Date, intervalMs: number): boolean {
  if (attemptTime === undefined) return true;
  const afterMs = hasFailed ? Math.min(retryMs, intervalMs) : intervalMs;
  const sinceMs = now.getTime() - attemptTime.getTime();
  return sinceMs >= afterMs || sinceMs < -skewMs;
}

/** Older than twice what was asked for. */
export function isLate({ pointTime, since }: Standing, now: Date, intervalMs: number): boolean {
  return now.getTime() - (pointTime ?? since).getTime() > 2 * intervalMs;
}
