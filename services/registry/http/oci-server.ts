import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Clock } from "#libs/clock";
import { withRemoteParent } from "#libs/telemetry";
import type { Access } from "../auth/access.ts";
import type { TokenEndpoint } from "../auth/token-endpoint.ts";
import { OciError } from "../domain/oci-error.ts";
import type { CountRequest } from "../metrics.ts";
import type { OciDeps } from "./exchange.ts";
import { newServer } from "./new-server.ts";
import { refuse } from "./refusal.ts";
import { findRoute } from "./routes.ts";

export interface OciServerDeps extends OciDeps {
  readonly countRequest: CountRequest;
  readonly clock: Clock;
  readonly access: Access;
  /** Where there are tokens. */
  readonly tokenEndpoint?: TokenEndpoint;
}

/** The OCI distribution API 1.1 over HTTP/1.1, with TLS where there is an identity. */
export function createOciServer(deps: OciServerDeps): Server {
  const server = newServer((request, response) => {
    serve(deps, request, response).catch((error: unknown) => refuse(deps, { request, response }, error));
  });
  // A long upload is not a slow attack: the connection's own idle time is limited instead.
  server.requestTimeout = 0;
  server.headersTimeout = 30_000;
  server.keepAliveTimeout = 75_000;
  server.setTimeout(300_000);
  return server;
}

async function serve(deps: OciServerDeps, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { path, query } = readTarget(request.url);
  const { method = "" } = request;
  const { tokenEndpoint } = deps;
  if (path === "/token" && tokenEndpoint !== undefined && (method === "GET" || method === "POST")) {
    return await tokenEndpoint(request, response, query);
  }
  const { handle, verb, repository, reference, isUpload } = findRoute(method, path);
  countWhenDone(deps, response, handle.name);
  const from = method === "POST" ? query.get("from") : null;
  const principal = await deps.access.admit(request, {
    verb,
    repository,
    ...(isUpload && { uploadId: reference }),
    ...(from !== null && { mountFrom: from }),
  });
  const exchange = { request, response, query, principal, repository, reference };
  await withRemoteParent(header(request, "traceparent"), `registry ${handle.name}`, () => handle(deps, exchange));
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === "string" ? value : undefined;
}

/** Counts each request by what it asked for, which is known by the name of what handles it. */
function countWhenDone({ countRequest, clock }: OciServerDeps, response: ServerResponse, request: string): void {
  const start = clock.monotonicMs();
  response.once("close", () => {
    countRequest((clock.monotonicMs() - start) / 1_000, { request, status: `${response.statusCode}` });
  });
}

/** The path as it came and what follows its question mark. Proxies may send a whole URL. */
function readTarget(target = "/"): { path: string; query: URLSearchParams } {
  const [, path = "", query] = /^(?:https?:\/\/[^/?]+)?(\/[^?]*)(?:\?(.*))?$/.exec(target) ?? [];
  if (path === "") throw new OciError("NAME_INVALID", "the request's target is no path");
  return { path, query: new URLSearchParams(query) };
}
