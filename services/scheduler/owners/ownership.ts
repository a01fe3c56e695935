import type { SchedulerReplica } from "#contracts/scheduler/v1/scheduler";

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
  /** Who owns a host, as far as is known here; undefined while nobody does. */
  ownerOf(host: string): SchedulerReplica | undefined;
}

export const owns = (ownership: Ownership, host: string): boolean => ownership.ownedSinceMs(host) !== undefined;
