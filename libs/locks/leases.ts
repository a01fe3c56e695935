/**
 * Who may work on something for now. A lease avoids wasted work; it is never the only guard: a paused holder may
 * wake up after it has lost it, and a lost Redis forgets all of them.
 */
export interface Leases {
  /** Undefined when someone else holds it. Fails with UNAVAILABLE when nobody can tell. `ttlMs` is at least 100. */
  acquire(key: string, ttlMs: number): Promise<Lease | undefined>;
}

/** Renewed by itself each third of its ttl until it is released or lost. */
export interface Lease {
  readonly key: string;
  /** Proves ownership; differs for every acquisition. */
  readonly token: string;
  /** Aborted when someone else has it, or when it could not be renewed for 0.6 of its ttl by the monotonic clock. */
  readonly signal: AbortSignal;
  /** Never fails: what cannot be given back runs out. */
  release(): Promise<void>;
}
