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

/** A body that leaves in one write with the head: as text, since Node joins nothing else with it. */
const JOINED_BYTES = 16_384;

/** Writes the head of an answer. */
export function writeHead(response: ServerResponse, status: number, headers: OutgoingHttpHeaders): void {
  // All at once: a header that is set before makes Node take each of the others by itself.
  response.writeHead(status, { "docker-distribution-api-version": "registry/2.0", ...headers });
}

/** Ends an answer whose head is written; that to a HEAD without the body. */
export function endWith({ request, response }: Pick<Exchange, "request" | "response">, body: Buffer): void {
  if (request.method === "HEAD") response.end();
  else if (body.length <= JOINED_BYTES) response.end(body.toString("latin1"), "latin1");
  else response.end(body);
}

/** Answers without a body. */
export function answer({ response }: Exchange, status: number, headers: OutgoingHttpHeaders = {}): void {
  writeHead(response, status, status === 204 || status === 304 ? headers : { ...headers, "content-length": 0 });
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
  const all = { "content-type": "application/json", ...headers, "content-length": bytes.length };
  writeHead(response, status, all);
  if (request.method !== "HEAD") response.write(bytes);
}
