import type { DeadlineOptions } from "nice-grpc-client-middleware-deadline";
import type { RetryOptions } from "nice-grpc-client-middleware-retry";
import { type CallOptions, type ClientMiddleware, Metadata, Status } from "nice-grpc-common";
import { currentIds, traceparent } from "#libs/telemetry";
import { fromClientError, silent } from "./client-error.ts";

export interface RpcCallOptions {
  /** Overrides the client's deadline for a unary call, in milliseconds. */
  readonly timeoutMs?: number;
  /** A stream that stays silent this long fails with UNAVAILABLE; left out, it may be silent for ever. */
  readonly idleTimeoutMs?: number;
}

const isRead = /\/(Get|List|Explain|Check)[A-Z]?\w*$/;

/** Gives each call its deadline, ids and retries, watches over silent streams, and brings errors back whole. */
export function watchedCall(
  address: string,
  defaultTimeoutMs: number,
): ClientMiddleware<RpcCallOptions, DeadlineOptions & RetryOptions> {
  return async function* (call, { timeoutMs = defaultTimeoutMs, idleTimeoutMs, ...options }) {
    const metadata = callMetadata(options.metadata);
    const idle = new IdleTimer(idleTimeoutMs, options.signal);
    try {
      if (!call.responseStream) {
        const retry = isRead.test(call.method.path);
        return yield* call.next(call.request, { ...options, ...retries, retry, metadata, deadline: timeoutMs });
      }
      for await (const response of call.next(call.request, { ...options, metadata, signal: idle.signal })) {
        idle.stop();
        yield response;
        idle.start();
      }
      return;
    } catch (error) {
      throw idle.fired ? silent(address, call.method.path, error) : fromClientError(error, address);
    } finally {
      idle.stop();
    }
  };
}

const retries = {
  retryableStatuses: [Status.UNAVAILABLE],
  retryMaxAttempts: 3,
  retryBaseDelayMs: 100,
  retryMaxDelayMs: 1_000,
};

function callMetadata(given: CallOptions["metadata"]): Metadata {
  const metadata = Metadata(given);
  const { requestId } = currentIds();
  const parent = traceparent();
  if (requestId !== undefined && !metadata.has("x-request-id")) metadata.set("x-request-id", requestId);
  if (parent !== undefined && !metadata.has("traceparent")) metadata.set("traceparent", parent);
  return metadata;
}

/** Aborts a call when nothing has come for too long; the time that the consumer takes does not count. */
class IdleTimer {
  readonly signal: AbortSignal;
  readonly #timeoutMs: number | undefined;
  readonly #abort = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor(timeoutMs: number | undefined, outer: AbortSignal | undefined) {
    this.#timeoutMs = timeoutMs;
    this.signal = outer === undefined ? this.#abort.signal : AbortSignal.any([outer, this.#abort.signal]);
    this.start();
  }

  get fired(): boolean {
    return this.#abort.signal.aborted;
  }

  start(): void {
    if (this.#timeoutMs !== undefined) this.#timer = setTimeout(() => this.#abort.abort(), this.#timeoutMs);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
