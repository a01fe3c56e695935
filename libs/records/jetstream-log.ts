import { setTimeout as sleep } from "node:timers/promises";
import {
  JetStreamApiCodes,
  JetStreamApiError,
  type JetStreamClient,
  type JetStreamManager,
  type JetStreamPublishOptions,
  jetstream,
  jetstreamManager,
  type StoredMsg,
  type StreamConfig,
} from "@nats-io/jetstream";
import { headers, type MsgHdrs, type NatsConnection, TimeoutError } from "@nats-io/transport-node";
import { StillpointError } from "#libs/errors";
import type { PurgeableLog } from "./compactor.ts";
import { ensureStream } from "./ensure-stream.ts";
import { followStream, newestOfStream, sequencesOfSubject } from "./jetstream-follow.ts";
import type {
  AppendNextOptions,
  AppendOptions,
  FollowedMessage,
  FollowOptions,
  LogMessage,
  OrderedLog,
} from "./log.ts";
import { hasNoRoom, isNobodyThere, noRoom, tookWrite } from "./outage.ts";

const ANSWER_WITHIN_MS = 2_000;
const READ_TRIES = 5;
const READ_PAUSE_MS = 300;

/** Opens a log on a stream of its own, making the stream where it is missing. */
export async function openJetStreamLog(
  nats: NatsConnection,
  stream: Partial<StreamConfig> & { readonly name: string; readonly subjects: string[] },
  options: { readonly complete?: boolean } = {},
): Promise<JetStreamLog> {
  const manager = await openManager(nats);
  await ensureStream(manager, stream);
  return new JetStreamLog(nats, manager, stream.name, options.complete ?? false);
}

/** Asks with a deadline that lets a caller see a short outage as a delay. */
export async function openManager(nats: NatsConnection): Promise<JetStreamManager> {
  // It need not answer yet: a cluster may just elect its leader.
  return await jetstreamManager(nats, { timeout: ANSWER_WITHIN_MS, checkAPI: false });
}

/** The log over one JetStream stream. */
export class JetStreamLog implements OrderedLog, PurgeableLog {
  readonly stream: string;
  readonly #nats: NatsConnection;
  readonly #manager: JetStreamManager;
  readonly #client: JetStreamClient;
  readonly #complete: boolean;

  constructor(nats: NatsConnection, manager: JetStreamManager, stream: string, complete: boolean) {
    this.stream = stream;
    this.#nats = nats;
    this.#manager = manager;
    this.#client = jetstream(nats, { timeout: ANSWER_WITHIN_MS });
    this.#complete = complete;
  }

  /** From the stream's leader, so that it sees every acknowledged write; `subject` may be a filter. */
  async read(subject: string): Promise<LogMessage | undefined> {
    const read = () => this.#manager.streams.getMessage(this.stream, { last_by_subj: subject });
    const message = await this.#untilAnswered(() => read().catch(unlessAbsent));
    return message === null ? undefined : toLogMessage(message);
  }

  async append(subject: string, data: Uint8Array, options: AppendOptions): Promise<number> {
    return await this.#publish(subject, data, {
      expect: { lastSubjectSequence: options.expectedSequence },
      ...(options.messageId === undefined ? {} : { msgID: options.messageId }),
    });
  }

  async appendNext(subject: string, data: Uint8Array, options: AppendNextOptions): Promise<number> {
    return await this.#publish(subject, data, {
      expect: { lastSequence: options.expectedLast },
      ...(options.messageId === undefined ? {} : { msgID: options.messageId }),
      ...traceHeaders(options.traceparent),
    });
  }

  async #publish(subject: string, data: Uint8Array, options: Partial<JetStreamPublishOptions>): Promise<number> {
    try {
      const { seq } = await this.#client.publish(subject, data, { ...options, timeout: ANSWER_WITHIN_MS });
      tookWrite(this.#nats);
      return seq;
    } catch (error) {
      throw this.#refusal(subject, error);
    }
  }

  follow(filter: string, options: FollowOptions): AsyncIterable<FollowedMessage> {
    const { stream } = this;
    const source = { nats: this.#nats, manager: this.#manager, client: this.#client, stream, complete: this.#complete };
    return followStream(source, filter, options);
  }

  async newest(filter: string): Promise<LogMessage[]> {
    for (let tries = 0; tries < READ_TRIES; tries++) {
      const known = (await this.read(filter))?.sequence ?? 0;
      const newest = await this.#untilAnswered(() => newestOfStream(this.#client, this.stream, filter));
      // A node that follows may have been asked, and be behind its leader.
      if ((newest.at(-1)?.sequence ?? 0) >= known) return newest;
      await sleep(READ_PAUSE_MS);
    }
    throw this.#unavailable(new Error("a node of it is behind the others"));
  }

  async lastSequence(): Promise<number> {
    const { state } = await this.#untilAnswered(() => this.#manager.streams.info(this.stream));
    return state.last_seq;
  }

  async crowded(filter: string, atMost: number): Promise<string[]> {
    const options = { subjects_filter: filter };
    const { state } = await this.#untilAnswered(() => this.#manager.streams.info(this.stream, options));
    const counts = Object.entries(state.subjects ?? {});
    return counts.filter(([, count]) => count > atMost).map(([subject]) => subject);
  }

  async sequencesOf(subject: string): Promise<number[]> {
    return await this.#untilAnswered(() => sequencesOfSubject(this.#client, this.stream, subject));
  }

  async purge(subject: string, before: number): Promise<void> {
    await this.#untilAnswered(() => this.#manager.streams.purge(this.stream, { filter: subject, seq: before }));
  }

  /** Reads and purges may be repeated: what was asked while the server was away is forgotten by the client when it is back. */
  async #untilAnswered<Answer>(ask: () => Promise<Answer>): Promise<Answer> {
    let failure: unknown;
    for (let tries = 0; tries < READ_TRIES && !this.#nats.isClosed(); tries++) {
      if (failure !== undefined && !(failure instanceof TimeoutError)) await sleep(READ_PAUSE_MS);
      const answer = await ask().then((value) => ({ value }), unlessSilent);
      if ("value" in answer) return answer.value;
      failure = answer.silence;
    }
    throw this.#unavailable(failure);
  }

  #refusal(subject: string, cause: unknown): StillpointError {
    if (isConflict(cause)) return new StillpointError("RECORD_CONFLICT", `${subject} has moved on`, { cause });
    if (hasNoRoom(cause)) return noRoom(this.#nats, this.stream, cause);
    const refused = cause instanceof JetStreamApiError || isNobodyThere(cause);
    if (refused) return this.#unavailable(cause);
    return new StillpointError("OUTCOME_UNKNOWN", `no answer about a write to ${subject}`, { cause });
  }

  #unavailable(cause: unknown): StillpointError {
    const why = cause instanceof TimeoutError ? "gives no answer" : describe(cause);
    return new StillpointError("UNAVAILABLE", `stream ${this.stream}: ${why}`, { cause });
  }
}

/** Servers from 2.12 on answer 10164 instead of 10071 where writers race in a cluster. */
function isConflict(error: unknown): boolean {
  const codes: readonly number[] = [
    JetStreamApiCodes.StreamWrongLastSequence,
    JetStreamApiCodes.StreamWrongLastSequenceUnknown,
  ];
  return error instanceof JetStreamApiError && codes.includes(error.code);
}

/** Anything but silence is an answer, though not the one that was hoped for. A cluster without a leader has none. */
function unlessSilent(error: unknown): { readonly silence: unknown } {
  const hasNoLeader = error instanceof JetStreamApiError && error.status === 503;
  if (error instanceof TimeoutError || isNobodyThere(error) || hasNoLeader) return { silence: error };
  throw new StillpointError("UNAVAILABLE", `JetStream refuses: ${describe(error)}`, { cause: error });
}

function unlessAbsent(error: unknown): null {
  if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.NoMessageFound) return null;
  throw error;
}

function describe(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

function toLogMessage(message: StoredMsg): LogMessage {
  return { subject: message.subject, sequence: message.seq, time: message.time, data: message.data };
}

function traceHeaders(traceparent: string | undefined): { headers?: MsgHdrs } {
  if (traceparent === undefined || traceparent === "") return {};
  const carrier = headers();
  carrier.set("traceparent", traceparent);
  return { headers: carrier };
}
