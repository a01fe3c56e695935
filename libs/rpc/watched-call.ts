import type { DeadlineOptions } from "nice-grpc-client-middleware-deadline";
import type { ClientMiddleware } from "nice-grpc-common";
import { fromClientError, silent } from "./client-error.ts";
import type { RetryOptions } from "./retried-call.ts";

export interface RpcCallOptions {
  /** Overrides the client's deadline for a unary call, in milliseconds. */
  readonly timeoutMs?: number;
  /** A stream that stays silent this long fails with UNAVAILABLE; left out, it may be silent for ever. */
  readonly idleTimeoutMs?: number;
}

/** What is the same for all calls of a client. */
export interface CallDefaults extends RetryOptions {
  /** One, or several separated by commas. */
  readonly address: string;
  readonly timeoutMs: number;
}

/** Gives each call its deadline and retries, watches over silent streams, and brings errors back whole. */
export function watchedCall(defaults: CallDefaults): ClientMiddleware<RpcCallOptions, DeadlineOptions & RetryOptions> {
  const { address, timeoutMs: usualMs, ...retries } = defaults;
  return async function* (call, { timeoutMs = usualMs, idleTimeoutMs, ...options }) {
    const idle = new IdleTimer(idleTimeoutMs, options.signal);
    try {
      if (!call.responseStream) {
        return yield* call.next(call.request, { ...options, ...retries, deadline: timeoutMs });
      }
      for await (const response of call.next(call.request, { ...options, signal: idle.signal })) {
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
