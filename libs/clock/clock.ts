/** Time as a port, so that tests and the simulator decide what time it is. */
export interface Clock {
  /** Wall-clock time; for what people read, never for measuring. */
  now(): Date;
  /** Milliseconds on a clock that never jumps; only differences mean something. */
  monotonicMs(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it is aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Randomness as a port. */
export interface Random {
  /** A new id, sortable by time: `<prefix>-<uuidv7>`. */
  id(prefix: string): string;
  /** Uniform in [0, 1). */
  next(): number;
}
