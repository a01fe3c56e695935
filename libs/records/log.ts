/**
 * A log of whole states with compare-and-set per subject: the port under records and operations.
 * JetStream is the real one; a memory log stands in for it in tests and in the simulator.
 */
export interface Log {
  /** The newest message of a subject (or of all that a filter covers), from the leader; undefined when there is none. */
  read(subject: string): Promise<LogMessage | undefined>;
  /**
   * Appends a message if the subject's newest sequence is still `expectedSequence` (0: the subject is empty).
   * Gives the sequence of the message. Fails with RECORD_CONFLICT when the subject has moved on, and with
   * OUTCOME_UNKNOWN when no answer came: then the message may be there; read again before trying again.
   * The same `messageId` is written at most once within two minutes.
   */
  append(subject: string, data: Uint8Array, options: AppendOptions): Promise<number>;
  /**
   * Messages after a sequence (0: what is kept, from the oldest), in order, for ever, until the signal aborts.
   * `filter` is a NATS subject filter. `pending` 0 means that the reader has caught up.
   * Fails with RESYNC when messages after that sequence are no longer kept.
   */
  follow(filter: string, options: FollowOptions): AsyncIterable<FollowedMessage>;
  /**
   * The newest message of each subject that matches, in order of sequence. Dearer than `read`: in a cluster most nodes
   * have to agree on it before it is read, so that none that is cut off answers.
   */
  newest(filter: string): Promise<LogMessage[]>;
  /** The sequence of the newest message in the log; 0 when it is empty. */
  lastSequence(): Promise<number>;
}

export interface LogMessage {
  readonly subject: string;
  readonly sequence: number;
  readonly time: Date;
  readonly data: Uint8Array;
}

export interface FollowedMessage extends LogMessage {
  /** How many matching messages were still to come when this one was sent. */
  readonly pending: number;
}

export interface AppendOptions {
  readonly expectedSequence: number;
  readonly messageId?: string;
}

export interface FollowOptions {
  readonly afterSequence: number;
  readonly signal: AbortSignal;
  /**
   * Milliseconds for which the reader need not hear of news once it has caught up; asked each time. What is written over
   * within them may never come: for readers of many messages who care for the newest state alone. None if unsaid.
   */
  readonly lagMs?: () => number;
}

/** A log that a single writer at a time extends: what two of them write neither repeats nor interleaves. */
export interface OrderedLog extends Log {
  /**
   * Appends a message if the log's newest sequence (of any subject) is still `expectedLast`; fails as `append` does.
   */
  appendNext(subject: string, data: Uint8Array, options: AppendNextOptions): Promise<number>;
}

export interface AppendNextOptions {
  readonly expectedLast: number;
  readonly messageId?: string;
  /** W3C trace context, carried in a header. */
  readonly traceparent?: string;
}
