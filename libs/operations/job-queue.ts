/**
 * Hints that an operation waits for a worker. They may be lost, repeated or come late: the log says what is true,
 * and the sweeper finds what no hint told about.
 */
export interface JobQueue {
  /** Tells the workers of a service, without waiting for an answer. */
  hint(service: string, operationId: string): void;
  /** Hints for a service, shared with its other workers, until the signal aborts. */
  take(service: string, options: TakeOptions): AsyncIterable<JobHint>;
}

export interface TakeOptions {
  /** How many hints may be taken before the first of them is finished. */
  readonly atMost: number;
  readonly signal: AbortSignal;
}

export interface JobHint {
  readonly operationId: string;
  /** Says that it is still being worked on; needed each 30 s at least. */
  working(): void;
  /** It is not needed any more. Never fails: it would come again, and be found done. */
  finish(): Promise<void>;
  /** Let it come again, to any worker, after a while. */
  again(delayMs: number): void;
}
