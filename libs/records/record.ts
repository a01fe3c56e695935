/** The codec that ts-proto generates for a message. */
export interface BodyCodec<Body> {
  fromJSON(value: unknown): Body;
  toJSON(value: Body): unknown;
}

/** What happened to a resource, in the past tense: "created", "fell_back". `data` is ProtoJSON. */
export interface RecordEvent {
  /** The aggregate it happened to: "vm", "checkpoint", "host". */
  readonly aggregate: string;
  readonly happened: string;
  readonly data: Readonly<Record<string, unknown>>;
  /** When it happened, where that is not the time of the write. */
  readonly time?: string;
  readonly traceparent?: string;
}

/** The durable state of one resource, as it was read. */
export interface StoredRecord<Body> {
  /** Resource name, for example projects/default/vms/web-1. */
  readonly name: string;
  readonly uid: string;
  /** Id of the operation that holds the resource; undefined when it is free. */
  readonly operation: string | undefined;
  readonly body: Body;
  /** Stream sequence of this state: the compare-and-set token. */
  readonly version: number;
  readonly time: Date;
  /** The message as it was stored; fields that this version of the code does not know survive a rewrite. */
  readonly raw: Readonly<Record<string, unknown>>;
}

/** A change of a record; what is absent stays as it is. */
export interface RecordChange<Body> {
  readonly body?: Body;
  /** null frees the resource. */
  readonly operation?: string | null;
  readonly events?: readonly RecordEvent[];
  readonly messageId?: string;
}

/** Records of one kind, over a Log. Every write is one compare-and-set message that is also the event. */
export interface RecordStore<Body> {
  /** From the leader; undefined when it never was or is deleted, as most nodes know. */
  get(name: string): Promise<StoredRecord<Body> | undefined>;
  /**
   * Fails with RECORD_CONFLICT when a live record has that name. Writes over a tombstone, but never over one with the
   * same uid, unless it `revives`: what was removed does not come back.
   */
  create(name: string, record: NewRecord<Body>): Promise<StoredRecord<Body>>;
  /** Writes over the state that was read; fails with RECORD_CONFLICT when that is no longer the newest. */
  update(stored: StoredRecord<Body>, change: RecordChange<Body>): Promise<StoredRecord<Body>>;
  /** Writes a tombstone over the state that was read. */
  remove(stored: StoredRecord<Body>, events?: readonly RecordEvent[]): Promise<void>;
  /**
   * Reads, decides, writes, and does so again when someone else was faster. `decide` gives undefined to leave it;
   * it may run several times. Gives undefined when there is no such record.
   */
  modify(
    name: string,
    decide: (stored: StoredRecord<Body>) => RecordChange<Body> | undefined,
  ): Promise<StoredRecord<Body> | undefined>;
}

export interface NewRecord<Body> {
  readonly uid: string;
  readonly body: Body;
  readonly operation?: string;
  readonly events?: readonly RecordEvent[];
  readonly messageId?: string;
  /** What was removed may come back under its uid, as a host does; `create` writes over its tombstone then. */
  readonly revives?: boolean;
}
