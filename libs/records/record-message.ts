import type { Log, LogMessage } from "./log.ts";
import type { BodyCodec, RecordEvent, StoredRecord } from "./record.ts";
import { subjectOfName } from "./subject.ts";

export type Json = Readonly<Record<string, unknown>>;

/** A message of stream REC: the whole new state, and the events that this write means. */
export interface RecordMessage {
  readonly name: string;
  readonly uid: string;
  /** Id of the operation that holds the resource. */
  readonly operation?: string;
  /** Sequence of the state that this one was written over; 0 for the first. Shows a reader what it has missed. */
  readonly previous: number;
  readonly events: readonly RecordEvent[];
  readonly body: Json;
  /** A tombstone: the resource is gone. */
  readonly deleted?: boolean;
  /** Message id of this write: what two writers say is never equal by accident, so that each knows its own. */
  readonly write?: string;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function encodeRecord(message: RecordMessage): Uint8Array {
  return encoder.encode(JSON.stringify(message));
}

export function decodeRecord(data: Uint8Array): RecordMessage {
  return JSON.parse(decoder.decode(data)) as RecordMessage;
}

/** The uid of a resource whose tombstone is the newest of its name; undefined when that is none, or nothing is known. */
export async function deletedUid(log: Pick<Log, "read">, name: string): Promise<string | undefined> {
  const newest = await log.read(subjectOfName(name));
  const record = newest && decodeRecord(newest.data);
  return record?.deleted === true ? record.uid : undefined;
}

/** What a reader sees of a message. */
export function toStored<Body>(codec: BodyCodec<Body>, message: LogMessage): StoredRecord<Body> {
  const raw = decodeRecord(message.data);
  return {
    name: raw.name,
    uid: raw.uid,
    operation: raw.operation,
    body: codec.fromJSON(raw.body),
    version: message.sequence,
    time: message.time,
    raw: { ...raw },
  };
}

/**
 * The new body laid over the stored one: what this version of the code knows is taken from `known`, what it does not
 * know stays as it is. `readable` is the stored body as this version reads and writes it: a field that is in there
 * but not in `known` was taken away.
 */
export function mergeBody(stored: Json, readable: Json, known: Json): Json {
  const unknown = Object.entries(stored).filter(([key]) => !(key in readable) && !(key in known));
  const merged = Object.entries(known).map(([key, value]) => [key, mergeValue(stored[key], readable[key], value)]);
  return Object.fromEntries([...unknown, ...merged]);
}

function mergeValue(stored: unknown, readable: unknown, known: unknown): unknown {
  return isObject(stored) && isObject(readable) && isObject(known) ? mergeBody(stored, readable, known) : known;
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
