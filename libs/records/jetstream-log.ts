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
import { headers, type MsgHdrs, type NatsConnection, NoRespondersError, TimeoutError } from "@nats-io/transport-node";
import { StillpointError } from "#libs/errors";
import { ensureStream } from "./ensure-stream.ts";
import { followStream, newestOfStream } from "./jetstream-follow.ts";
import type {
  AppendNextOptions,
  AppendOptions,
  FollowedMessage,
  FollowOptions,
  LogMessage,
  OrderedLog,
} from "./log.ts";

const ANSWER_WITHIN_MS = 2_000;

/** Opens a log on a stream of its own, making the stream where it is missing. */
export async function openJetStreamLog(
  nats: NatsConnection,
  stream: Partial<StreamConfig> & { readonly name: string; readonly subjects: string[] },
  options: { readonly complete?: boolean } = {},
): Promise<JetStreamLog> {
  const manager = await jetstreamManager(nats);
  await ensureStream(manager, stream);
  return new JetStreamLog(nats, manager, stream.name, options.complete ?? false);
}

/** The log over one JetStream stream. */
export class JetStreamLog implements OrderedLog {
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
    try {
      const message = await this.#manager.streams.getMessage(this.stream, { last_by_subj: subject });
      return message === null ? undefined : toLogMessage(message);
    } catch (error) {
      if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.NoMessageFound) return undefined;
      throw this.#unavailable(error);
    }
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
      return (await this.#client.publish(subject, data, { ...options, timeout: ANSWER_WITHIN_MS })).seq;
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
    return await newestOfStream(this.#client, this.stream, filter).catch((error: unknown) => {
      throw this.#unavailable(error);
    });
  }

  async lastSequence(): Promise<number> {
    const info = await this.#manager.streams.info(this.stream).catch((error: unknown) => {
      throw this.#unavailable(error);
    });
    return info.state.last_seq;
  }

  #refusal(subject: string, cause: unknown): StillpointError {
    if (isConflict(cause)) return new StillpointError("RECORD_CONFLICT", `${subject} has moved on`, { cause });
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

function isNobodyThere(error: unknown): boolean {
  return error instanceof NoRespondersError || (error instanceof Error && error.name === "JetStreamNotEnabled");
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
