import type { Clock, Random } from "#libs/clock";
import { isStillpointError, StillpointError } from "#libs/errors";
import { appendSurely } from "./append-surely.ts";
import type { Log, LogMessage } from "./log.ts";
import type { BodyCodec, NewRecord, RecordChange, RecordEvent, RecordStore, StoredRecord } from "./record.ts";
import { decodeRecord, encodeRecord, type Json, mergeBody, type RecordMessage, toStored } from "./record-message.ts";
import { subjectOfName } from "./subject.ts";

export interface RecordStoreDeps<Body> {
  readonly log: Log;
  readonly codec: BodyCodec<Body>;
  readonly clock: Clock;
  readonly random: Random;
  /** How long a write may wait for a log that does not answer; 10 s if unsaid. */
  readonly patienceMs?: number;
}

/** Reads bodies as plain JSON, for whoever touches records of any kind. */
export const rawCodec: BodyCodec<Json> = {
  fromJSON: (value) => value as Json,
  toJSON: (value) => value,
};

const MAX_ROUNDS = 50;

export function createRecordStore<Body>(deps: RecordStoreDeps<Body>): RecordStore<Body> {
  return new LogRecordStore(deps);
}

function onConflict(error: unknown): { readonly conflict: StillpointError } {
  if (isStillpointError(error, "RECORD_CONFLICT")) return { conflict: error };
  throw error;
}

function isLive(message: LogMessage | undefined): message is LogMessage {
  return message !== undefined && decodeRecord(message.data).deleted !== true;
}

/** A RecordStore that can also write over one chosen tombstone. */
export class LogRecordStore<Body> implements RecordStore<Body> {
  readonly #deps: RecordStoreDeps<Body>;

  constructor(deps: RecordStoreDeps<Body>) {
    this.#deps = deps;
  }

  async get(name: string): Promise<StoredRecord<Body> | undefined> {
    const { log, codec } = this.#deps;
    const subject = subjectOfName(name);
    let message = await log.read(subject);
    // That there is none is believed of no single node: one that is cut off, or leads anew, may not have heard of it.
    if (!isLive(message)) [message] = await log.newest(subject);
    return isLive(message) ? toStored(codec, message) : undefined;
  }

  async create(name: string, record: NewRecord<Body>): Promise<StoredRecord<Body>> {
    try {
      return await this.createOver(name, record, 0);
    } catch (error) {
      if (!isStillpointError(error, "RECORD_CONFLICT")) throw error;
      const newest = await this.#deps.log.read(subjectOfName(name));
      const found = newest && decodeRecord(newest.data);
      // A tombstone with this uid is of this very record: it was made, with an answer that got lost, and is gone again.
      const isLate = found?.uid === record.uid && record.revives !== true;
      if (newest === undefined || found?.deleted !== true || isLate) throw error;
      return await this.createOver(name, record, newest.sequence);
    }
  }

  /** As `create`, over the tombstone with that version (0: over nothing); RECORD_CONFLICT when it is not the newest. */
  async createOver(name: string, record: NewRecord<Body>, previous: number): Promise<StoredRecord<Body>> {
    const { uid, operation, events = [], messageId } = record;
    const body = this.#deps.codec.toJSON(record.body) as Json;
    const message = { name, uid, ...(operation === undefined ? {} : { operation }), previous, events, body };
    return await this.#write(message, messageId === undefined ? undefined : `${messageId}.${previous}`);
  }

  async update(stored: StoredRecord<Body>, change: RecordChange<Body>): Promise<StoredRecord<Body>> {
    const raw = stored.raw as unknown as RecordMessage;
    const { operation: held, ...rest } = raw;
    const operation = change.operation === undefined ? held : (change.operation ?? undefined);
    const message = {
      ...rest,
      ...(operation === undefined ? {} : { operation }),
      previous: stored.version,
      events: change.events ?? [],
      body: change.body === undefined ? raw.body : this.#merged(raw.body, change.body),
    };
    return await this.#write(message, change.messageId);
  }

  async remove(stored: StoredRecord<Body>, events: readonly RecordEvent[] = []): Promise<void> {
    const { name, uid, body } = stored.raw as unknown as RecordMessage;
    await this.#write({ name, uid, previous: stored.version, events, body, deleted: true });
  }

  async modify(
    name: string,
    decide: (stored: StoredRecord<Body>) => RecordChange<Body> | undefined,
  ): Promise<StoredRecord<Body> | undefined> {
    let conflict: unknown;
    for (let round = 1; round <= MAX_ROUNDS; round++) {
      const stored = await this.get(name);
      const change = stored && decide(stored);
      if (stored === undefined || change === undefined) return stored;
      const written = await this.update(stored, change).catch(onConflict);
      if ("body" in written) return written;
      conflict = written.conflict;
    }
    throw conflict;
  }

  #merged(stored: Json, body: Body): Json {
    const { codec } = this.#deps;
    const readable = codec.toJSON(codec.fromJSON(stored)) as Json;
    return mergeBody(stored, readable, codec.toJSON(body) as Json);
  }

  async #write(message: RecordMessage, messageId: string = this.#deps.random.id("write")): Promise<StoredRecord<Body>> {
    const { log, codec, clock, patienceMs = 10_000 } = this.#deps;
    const data = encodeRecord({ ...message, write: messageId });
    const write = { subject: subjectOfName(message.name), data, expectedSequence: message.previous, messageId };
    try {
      const sequence = await appendSurely(log, write, { clock, forMs: patienceMs });
      return toStored(codec, { subject: write.subject, sequence, time: clock.now(), data });
    } catch (cause) {
      if (!isStillpointError(cause, "RECORD_CONFLICT")) throw cause;
      throw new StillpointError("RECORD_CONFLICT", `${message.name} was changed by someone else`, { cause });
    }
  }
}
