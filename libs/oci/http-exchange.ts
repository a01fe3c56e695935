import {
  Agent,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestOptions,
  request as startRequest,
} from "node:http";
import { request as startTlsRequest, Agent as TlsAgent } from "node:https";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Clock, systemClock } from "#libs/clock";
import { isStillpointError, StillpointError } from "#libs/errors";
import { ownIdentity } from "#libs/tls";

export interface HttpRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
  /** Path and query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Opened again for each attempt. */
  readonly body?: { readonly sizeBytes: number; open(): Readable | Uint8Array };
  readonly signal?: AbortSignal | undefined;
}

export interface HttpResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: IncomingMessage;
}

const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 100;
/** Without a byte from the other side. */
const IDLE_TIMEOUT_MS = 60_000;
/** Errors of our own files, which no other attempt mends. */
const FILE_ERRORS = new Set(["ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "ENOENT", "EIO"]);
const RETRIED_STATUS = new Set([429, 502, 503, 504]);

/** Speaks HTTP with one server over kept-alive connections, and tries again when a connection breaks. */
export class HttpExchange {
  readonly #base: URL;
  readonly #agent: Agent;
  readonly #clock: Clock;

  /** `address` is `host:port`, or a URL with http or https. */
  constructor(address: string, { connections, clock = systemClock }: { connections: number; clock?: Clock }) {
    this.#base = new URL(address.includes("://") ? address : `http://${address}`);
    const options = { keepAlive: true, maxSockets: connections };
    this.#agent = this.#base.protocol === "https:" ? new TlsAgent(options) : new Agent(options);
    this.#clock = clock;
  }

  /** Of the server. */
  get url(): URL {
    return this.#base;
  }

  /**
   * Sends a request and lets `read` take the response's body, both anew on each attempt.
   * @throws StillpointError REGISTRY_UNREACHABLE after the last attempt, CANCELLED
   */
  async exchange<Result>(wanted: HttpRequest, read: (response: HttpResponse) => Promise<Result>): Promise<Result> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await read(await this.#attempt(wanted, attempt < ATTEMPTS));
      } catch (error) {
        await this.#prepareRetry(wanted, attempt, error);
      }
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  /** Waits before the next attempt, or throws what ends the exchange. */
  async #prepareRetry({ signal }: HttpRequest, attempt: number, error: unknown): Promise<void> {
    if (isStillpointError(error) || isOurs(error)) throw error;
    if (signal?.aborted) throw cancelled(this.#base, error);
    if (attempt === ATTEMPTS) throw unreachable(this.#base, error);
    await this.#clock.sleep(FIRST_PAUSE_MS * 2 ** (attempt - 1), signal).catch((aborted: unknown) => {
      throw cancelled(this.#base, aborted);
    });
  }

  async #attempt(wanted: HttpRequest, mayRetry: boolean): Promise<HttpResponse> {
    const { promise, resolve, reject } = Promise.withResolvers<HttpResponse>();
    const start = this.#base.protocol === "https:" ? startTlsRequest : startRequest;
    const outgoing = start(new URL(wanted.path, this.#base), this.#options(wanted), (body) =>
      resolve({ status: body.statusCode ?? 0, headers: body.headers, body }),
    );
    outgoing.on("error", reject);
    outgoing.on("timeout", () => outgoing.destroy(new Error("the registry stopped answering")));
    const content = wanted.body?.open();
    if (content instanceof Readable) pipeline(content, outgoing).catch(reject);
    else outgoing.end(content);
    const response = await promise;
    if (mayRetry && RETRIED_STATUS.has(response.status)) {
      response.body.resume();
      throw new Error(`the registry answered ${response.status}`);
    }
    return response;
  }

  #options({ method, headers, body, signal }: HttpRequest): RequestOptions {
    const length = body === undefined && method !== "POST" && method !== "PUT" ? undefined : (body?.sizeBytes ?? 0);
    return {
      method,
      agent: this.#agent,
      // Read for each connection: certificates are renewed. Without an identity the system's authorities count.
      ...(this.#base.protocol === "https:" && ownIdentity()?.pem),
      timeout: IDLE_TIMEOUT_MS,
      headers: { ...headers, ...(length !== undefined && { "content-length": length }) },
      ...(signal && { signal }),
    };
  }
}

function isOurs(error: unknown): boolean {
  return error instanceof Error && "code" in error && FILE_ERRORS.has(String(error.code));
}

function cancelled(base: URL, cause: unknown): StillpointError {
  return new StillpointError("CANCELLED", `the transfer with ${base.host} was cancelled`, { cause });
}

function unreachable(base: URL, cause: unknown): StillpointError {
  return new StillpointError("REGISTRY_UNREACHABLE", `the registry at ${base.host} cannot be reached`, { cause });
}
