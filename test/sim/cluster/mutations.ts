/** Promises that a run is to break on purpose: each must be found out, or the simulation shows nothing. */
export interface Mutations {
  /** Heartbeats are answered before the host's record says that it is heard. */
  readonly answersUnwritten?: boolean;
  /** A host is said to be down at once, without a renewal that was sent after it was suspected. */
  readonly downUnconfirmed?: boolean;
  /** A host is down after so long, in ms. */
  readonly downAfterMs?: number;
  /** Ledgers are written over whatever stands there. */
  readonly blindLedgers?: boolean;
  /** So many times the CPUs that a host has are given out. */
  readonly overcommit?: number;
  /** An agent that is started anew knows no epoch. */
  readonly forgottenEpochs?: boolean;
  /** Guards pause their children so many ms after the deadline. */
  readonly lateGuardMs?: number;
  /** A recovery takes its host for down without a look at its record. */
  readonly unseenHosts?: boolean;
  /** Held workloads go on although they are being recovered. */
  readonly unseenRecoveries?: boolean;
  /** Hosts are told nothing of what they hold. */
  readonly noWords?: boolean;
}
