import type { CallOptions, ClientMiddleware } from "nice-grpc-common";
import { isStillpointError, StillpointError } from "#libs/errors";
import { pauseBefore } from "./retried-call.ts";

/** Where a watch begins that was asked for without a token; in the header of its answer. */
export const resumeTokenHeader = "x-resume-token";

const isWatch = /\/Watch\w+$/;

export interface ResumeOptions {
  /** How often in a row a watch is asked for again without getting anything; 0 lets it fail at once. */
  readonly resumptions?: number;
}

/**
 * Asks for a watch again that broke off, from behind the last token that came, at whichever replica answers. Nothing is
 * missed; SYNCED is told once. A watch that should not have ended is asked for again too: servers before 0.2 end it
 * without a word when they stop. One that breaks off within its snapshot fails with RESYNC: whoever watches begins with
 * an empty picture again.
 */
export const resumedWatch: ClientMiddleware<ResumeOptions> = async function* (call, { resumptions = 0, ...options }) {
  if (call.requestStream || !isWatch.test(call.method.path)) return yield* call.next(call.request, options);
  const position = new Position(call.request, options, { resumptions, endsByItself: endsByItself(call) });
  while (!position.isOver) {
    try {
      for await (const response of call.next(position.request, position.options)) {
        if (position.take(response)) yield response;
      }
      position.end();
    } catch (error) {
      await position.again(error);
    }
  }
};

/** Of events there may be asked for those that there are, and no more. */
const endsByItself = ({ method, request }: { readonly method: { readonly path: string }; readonly request: unknown }) =>
  method.path.endsWith("/WatchEvents") && (request as { readonly follow?: boolean }).follow !== true;

interface WatchLimits {
  readonly resumptions: number;
  /** It ends by itself when it has told what there is. */
  readonly endsByItself: boolean;
}

/** How far a watch has come. One without tokens tells all that is of interest each time anew. */
class Position<Request> {
  readonly options: CallOptions;
  readonly #first: Request;
  readonly #most: number;
  readonly #endsByItself: boolean;
  #since: unknown;
  #isInSnapshot = false;
  #isSynced = false;
  #isDone: boolean | undefined;
  #isOver = false;
  #failures = 0;

  constructor(first: Request, options: CallOptions, { resumptions, endsByItself }: WatchLimits) {
    this.#first = first;
    this.#endsByItself = endsByItself;
    this.#most = resumptions;
    this.options = {
      ...options,
      onHeader: (header) => {
        this.#since ??= header.get(resumeTokenHeader);
        options.onHeader?.(header);
      },
    };
  }

  get request(): Request {
    return this.#since === undefined ? this.#first : { ...this.#first, since: this.#since };
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** False for what a watch that goes on has told before. */
  take(response: unknown): boolean {
    const { kind, token, done } = response as { readonly kind?: unknown; readonly token?: unknown; done?: boolean };
    this.#isDone = done;
    this.#failures = 0;
    this.#isInSnapshot = kind === "KIND_CURRENT";
    if (!this.#isInSnapshot && token !== undefined) this.#since = token;
    const isTold = kind === "KIND_SYNCED" && this.#isSynced;
    this.#isSynced ||= kind === "KIND_SYNCED";
    return !isTold;
  }

  /** The server has ended it. Fails when it is one that goes on for ever, or until an operation is done. */
  end(): void {
    this.#isOver = this.#isDone ?? this.#endsByItself;
    if (!this.#isOver) throw new StillpointError("UNAVAILABLE", "the server ended the watch");
  }

  /** Returns when the watch should be asked for again after it failed; else fails. */
  async again(error: unknown): Promise<void> {
    const { signal } = this.options;
    signal?.throwIfAborted();
    if (++this.#failures > this.#most || !isStillpointError(error, "UNAVAILABLE")) throw error;
    if (this.#isInSnapshot) {
      throw new StillpointError("RESYNC", "the watch broke off within its snapshot", { cause: error });
    }
    await pauseBefore(this.#failures, signal);
  }
}
