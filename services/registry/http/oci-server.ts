import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { isStillpointError } from "#libs/errors";
import { OciError } from "../domain/oci-error.ts";
import { answerJson, type OciDeps } from "./exchange.ts";
import { connectionPrincipal, newServer } from "./new-server.ts";
import { findRoute } from "./routes.ts";

/** The OCI distribution API 1.1 over HTTP/1.1, with TLS where there is an identity. */
export function createOciServer(deps: OciDeps): Server {
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

async function serve(deps: OciDeps, request: IncomingMessage, response: ServerResponse): Promise<void> {
  response.setHeader("docker-distribution-api-version", "registry/2.0");
  const { pathname, searchParams } = readTarget(request.url);
  const { handle, verb, repository, reference } = findRoute(request.method ?? "", pathname);
  const principal = connectionPrincipal(request);
  if (principal === undefined) throw new OciError("UNAUTHORIZED", "a certificate is needed");
  deps.authorise(principal, verb, `repositories/${repository}`);
  await handle(deps, { request, response, query: searchParams, principal, repository, reference });
}

function readTarget(target: string | undefined): URL {
  try {
    return new URL(target ?? "/", "http://registry");
  } catch (error) {
    throw new OciError("NAME_INVALID", "the request's target is no path", { cause: error });
  }
}

function refuse(
  { logger }: OciDeps,
  exchange: { request: IncomingMessage; response: ServerResponse },
  error: unknown,
): void {
  const { request, response } = exchange;
  const refusal = asOciError(error);
  if (refusal.status >= 500 && !response.destroyed) {
    logger.error({ err: error, method: request.method, url: request.url }, "a request failed");
  }
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const body = { errors: [{ code: refusal.code, message: refusal.message, detail: {} }] };
  // A body that is still under way would be read to its end for nothing.
  const connection = request.complete ? {} : { connection: "close" };
  answerJson(exchange, body, { status: refusal.status, headers: { ...refusal.headers, ...connection } });
}

/** Forbidden and absent look the same. */
function asOciError(error: unknown): OciError {
  if (error instanceof OciError) return error;
  if (isStillpointError(error, "PERMISSION_DENIED")) return new OciError("NAME_UNKNOWN", "there is no such repository");
  return new OciError("UNKNOWN", "internal error", { cause: error });
}
