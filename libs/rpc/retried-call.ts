import { setTimeout as sleep } from "node:timers/promises";
import { type CallOptions, ClientError, type ClientMiddleware, Metadata, Status } from "nice-grpc-common";
import { isTransportFailure, reasonOf, staysSo } from "./client-error.ts";

export interface RetryOptions {
  /** How often a unary call is tried again at most. */
  readonly retries?: number;
  /** An attempt that is not answered for so long is given up for another, in milliseconds; left out: none is. */
  readonly attemptTimeoutMs?: number;
}

/** Tells the server how often the call was tried before (gRPC's own name for it, proposal A6). */
export const previousAttemptsHeader = "grpc-previous-rpc-attempts";

const firstPauseMs = 100;
const longestPauseMs = 1_000;

/**
 * Tries unary calls again that no server has answered, or that one could not serve at the moment; each mutating method
 * takes a repetition for the same call. Which replica gets the next attempt is the channel's to say.
 */
export const retriedCall: ClientMiddleware<RetryOptions> = async function* (call, { retries, ...options }) {
  const isUnary = !call.requestStream && !call.responseStream;
  const attempts = new Attempts({ ...options, retries: isUnary ? (retries ?? 0) : 0 });
  for (;;) {
    try {
      return yield* call.next(call.request, attempts.begin());
    } catch (error) {
      await attempts.again(error);
    }
  }
};

/** Waits before the n-th repetition: 50 to 100 ms, then twice as long each time, up to a second. */
export async function pauseBefore(repetition: number, signal: AbortSignal | undefined): Promise<void> {
  const ms = Math.min(firstPauseMs * 2 ** (repetition - 1), longestPauseMs) * (0.5 + Math.random() / 2);
  await sleep(ms, undefined, { ...(signal && { signal }) });
}

/** The attempts at one call. */
class Attempts {
  readonly #options: CallOptions;
  readonly #most: number;
  readonly #timeoutMs: number | undefined;
  #begun = 0;
  /** Ends the one under way when it has taken too long, and there is time for another. */
  #patience: AbortSignal | undefined;

  constructor({ retries, attemptTimeoutMs, ...options }: CallOptions & RetryOptions & { readonly retries: number }) {
    this.#options = options;
    this.#most = retries + 1;
    this.#timeoutMs = attemptTimeoutMs;
  }

  begin(): CallOptions {
    const previous = this.#begun++;
    const isLast = this.#begun === this.#most;
    this.#patience = isLast || this.#timeoutMs === undefined ? undefined : AbortSignal.timeout(this.#timeoutMs);
    const signals = [this.#options.signal, this.#patience].filter((it) => it !== undefined);
    const signal = signals.length > 1 ? AbortSignal.any(signals) : signals[0];
    const options = signal === undefined ? this.#options : { ...this.#options, signal };
    if (previous === 0) return options;
    return { ...options, metadata: Metadata(options.metadata).set(previousAttemptsHeader, String(previous)) };
  }

  /** Returns when there should be another attempt after one that failed; else fails with its error. */
  async again(error: unknown): Promise<void> {
    const { signal } = this.#options;
    signal?.throwIfAborted();
    const mayHelp = this.#patience?.aborted === true || mayGoAway(error);
    if (this.#begun === this.#most || !mayHelp) throw error;
    await pauseBefore(this.#begun, signal);
  }
}

/** Nobody answered, or who answered cannot serve now; other reasons, as of a host that is away, are final. */
function mayGoAway(error: unknown): boolean {
  if (!(error instanceof ClientError)) return false;
  const reason = reasonOf(error);
  if (reason === undefined) return isTransportFailure(error);
  const isAway = reason === "UNAVAILABLE" || reason === "OUTCOME_UNKNOWN";
  return error.code === Status.UNAVAILABLE && isAway && !staysSo(error);
}
