import type { Clock } from "#libs/clock";

/** What a replica may do at this moment, as it knows for sure. */
export interface Ownership {
  /** Of the newest change of the membership that is known here; one who owns a host later has a higher one. */
  readonly epoch: number;
  /** Since when it has owned a host without a break, in monotonic time; undefined while it does not. */
  ownedSinceMs(host: string): number | undefined;
  /**
   * Monotonic time at which the newest renewal was sent that is known to be in the log, with all that the log had
   * before it: what was owned then is owned by this view.
   */
  readonly confirmedMs: number;
}

/** Of the one replica that there is. */
export function ownsAll(clock: Clock): Ownership {
  const sinceMs = clock.monotonicMs();
  return {
    epoch: 1,
    ownedSinceMs: () => sinceMs,
    get confirmedMs() {
      return clock.monotonicMs();
    },
  };
}
