import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from "node:http";
import type { Principal } from "#libs/auth";
import type { Logger } from "#libs/logger";
import type { Changes } from "../events/changes.ts";
import type { Pulls } from "../events/pulls.ts";
import type { RegistryStore } from "../store/open-store.ts";
import type { BlobHolders } from "../store/redis-blob-holders.ts";

export interface OciDeps extends RegistryStore {
  readonly holders: BlobHolders;
  readonly changes: Changes;
  readonly pulls: Pulls;
  readonly logger: Logger;
}

/** One request of the OCI API and its response. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly query: URLSearchParams;
  readonly principal: Principal;
  /** Checked; empty for routes without one. */
  readonly repository: string;
  /** The last part of the path: digest, tag or upload id; not checked. */
  readonly reference: string;
}

export type Handler = (deps: OciDeps, exchange: Exchange) => Promise<void>;

/** Answers without a body. */
export function answer({ response }: Exchange, status: number, headers: OutgoingHttpHeaders = {}): void {
  response.writeHead(status, status === 204 || status === 304 ? headers : { ...headers, "content-length": 0 });
  response.end();
}

interface JsonOptions {
  readonly status?: number;
  readonly headers?: OutgoingHttpHeaders;
}

/** Answers a JSON document; to a HEAD without it. */
export function answerJson(exchange: Exchange, body: unknown, options?: JsonOptions): void {
  writeJson(exchange, body, options);
  exchange.response.end();
}

/** The same, without ending the response. */
export function writeJson(
  { request, response }: Pick<Exchange, "request" | "response">,
  body: unknown,
  { status = 200, headers = {} }: JsonOptions = {},
): void {
  const bytes = Buffer.from(JSON.stringify(body));
  response.writeHead(status, { "content-type": "application/json", ...headers, "content-length": bytes.length });
  if (request.method !== "HEAD") response.write(bytes);
}
