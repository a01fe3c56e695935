import { setTimeout as sleep } from "node:timers/promises";
import {
  type Consumer,
  type ConsumerMessages,
  DeliverPolicy,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg,
} from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { isStillpointError, StillpointError } from "#libs/errors";
import type { FollowedMessage, FollowOptions, LogMessage } from "./log.ts";

/** Where a follower reads. */
export interface FollowSource {
  readonly nats: NatsConnection;
  readonly manager: JetStreamManager;
  readonly client: JetStreamClient;
  readonly stream: string;
  readonly complete: boolean;
}

interface Position {
  sequence: number;
  /** When the stream was made: tells a stream that was made again under the same name. */
  created: string | undefined;
}

const RETRY_MS = 200;
/** Two missed heartbeats make the client look whether its consumer is still there. */
const PULL = { max_messages: 1_000, expires: 10_000, idle_heartbeat: 2_500, abort_on_missing_resource: true };
const MOST_AT_ONCE = 1_000;
const FETCH = { expires: 10_000, idle_heartbeat: 2_500 };

/**
 * Follows a stream through ordered consumers, a new one whenever the last is gone: they live in the server's memory,
 * and its restart or a long silence takes them away.
 */
export async function* followStream(
  source: FollowSource,
  filter: string,
  { afterSequence, signal, lagMs }: FollowOptions,
): AsyncGenerator<FollowedMessage> {
  const read: Reading["read"] =
    lagMs === undefined ? readAll : (consumer, stop) => readInBatches(consumer, stop, lagMs);
  const position: Position = { sequence: afterSequence, created: undefined };
  while (!signal.aborted) {
    try {
      await checkPosition(source, position);
      yield* readOn(source, { filter, position, signal, read });
    } catch (error) {
      if (isStillpointError(error, "RESYNC")) throw error;
    }
    await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
  }
}

/** Fails with RESYNC when the stream is another one by now, or no longer keeps what comes next. */
async function checkPosition(source: FollowSource, position: Position): Promise<void> {
  const { created, state } = await source.manager.streams.info(source.stream);
  const made = String(created);
  const remade = position.created !== undefined && position.created !== made;
  const gone = source.complete && position.sequence > 0 && state.first_seq > position.sequence + 1;
  if (remade || gone || position.sequence > state.last_seq) {
    throw new StillpointError("RESYNC", `stream ${source.stream} no longer keeps what follows ${position.sequence}`);
  }
  position.created = made;
}

/** What follows a position. */
interface Reading {
  readonly filter: string;
  readonly position: Position;
  readonly signal: AbortSignal;
  readonly read: (consumer: Consumer, stop: Stop) => AsyncIterable<JsMsg>;
}

/** Ends the messages that are being read, and what would be read after them. */
interface Stop {
  readonly signal: AbortSignal;
  messages: ConsumerMessages | undefined;
}

async function* readOn(
  { nats, client, stream }: FollowSource,
  { filter, position, signal, read }: Reading,
): AsyncGenerator<FollowedMessage> {
  const consumer = await client.consumers.get(stream, {
    filter_subjects: [filter],
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: position.sequence + 1,
  });
  const over = new AbortController();
  const reading: Stop = { signal: over.signal, messages: undefined };
  const stop = () => {
    over.abort();
    reading.messages?.stop();
  };
  signal.addEventListener("abort", stop, { once: true });
  const reconnects = atReconnect(nats, stop);
  try {
    if (signal.aborted) return;
    for await (const message of read(consumer, reading)) {
      position.sequence = message.seq;
      yield { ...toLogMessage(message), pending: message.info.pending };
    }
  } finally {
    signal.removeEventListener("abort", stop);
    reconnects.stop();
    stop();
    forget(consumer);
  }
}

/** Each message as it comes. */
async function* readAll(consumer: Consumer, stop: Stop): AsyncGenerator<JsMsg> {
  stop.messages = await consumer.consume(PULL);
  if (stop.signal.aborted) return;
  yield* stop.messages;
}

/** Asks for what there is, then for nothing for a while: what is written over meanwhile is never sent. */
async function* readInBatches(consumer: Consumer, stop: Stop, lagMs: () => number): AsyncGenerator<JsMsg> {
  for (let pending = 0; !stop.signal.aborted; ) {
    // What is there for certain, or the first that will be: nothing is sent for a request that was answered in full.
    const messages = await consumer.fetch({ ...FETCH, max_messages: Math.min(Math.max(pending, 1), MOST_AT_ONCE) });
    stop.messages = messages;
    if (stop.signal.aborted) return;
    pending = 0;
    for await (const message of messages) {
      yield message;
      pending = message.info.pending;
    }
    if (pending === 0) await sleep(lagMs(), undefined, { signal: stop.signal }).catch(() => undefined);
  }
}

/** A reconnected client waits up to half a minute before it notices that its consumer is gone; we look at once. */
function atReconnect(nats: NatsConnection, stop: () => void): { stop(): void } {
  const statuses = nats.status() as ReturnType<NatsConnection["status"]> & { stop(): void };
  void (async () => {
    for await (const status of statuses) if (status.type === "reconnect") stop();
  })();
  return statuses;
}

function discard(messages: ConsumerMessages, consumer: Consumer): void {
  messages.stop();
  forget(consumer);
}

function forget(consumer: Consumer): void {
  // The server forgets it by itself after five minutes when it cannot be told.
  consumer.delete().catch(() => undefined);
}

/** The newest message of each subject that matches. */
export async function newestOfStream(client: JetStreamClient, stream: string, filter: string): Promise<LogMessage[]> {
  const consumer = await client.consumers.get(stream, {
    filter_subjects: [filter],
    deliver_policy: DeliverPolicy.LastPerSubject,
  });
  const newest = new Map<string, LogMessage>();
  const { num_pending: expected } = await consumer.info(true);
  if (expected === 0) {
    forget(consumer);
    return [];
  }
  const messages = await consumer.consume(PULL);
  try {
    for await (const message of messages) {
      newest.delete(message.subject);
      newest.set(message.subject, toLogMessage(message));
      if (message.info.pending === 0) break;
    }
  } finally {
    discard(messages, consumer);
  }
  return [...newest.values()];
}

/** The sequences of a subject's messages, oldest first. */
export async function sequencesOfSubject(client: JetStreamClient, stream: string, subject: string): Promise<number[]> {
  const consumer = await client.consumers.get(stream, { filter_subjects: [subject], headers_only: true });
  const sequences: number[] = [];
  const { num_pending: expected } = await consumer.info(true);
  if (expected === 0) return [];
  const messages = await consumer.consume(PULL);
  try {
    for await (const message of messages) {
      sequences.push(message.seq);
      if (message.info.pending === 0) break;
    }
  } finally {
    discard(messages, consumer);
  }
  return sequences;
}

function toLogMessage(message: JsMsg): LogMessage {
  return { subject: message.subject, sequence: message.seq, time: message.time, data: message.data };
}
