import type { IncomingMessage, ServerResponse } from "node:http";
import { isStillpointError } from "#libs/errors";
import type { Logger } from "#libs/logger";
import { OciError } from "../domain/oci-error.ts";
import { writeJson } from "./exchange.ts";

/** How long a client may go on to send what was refused, so that it reads why before the connection ends. */
const LINGER_MS = 5_000;
/** What does not answer now may in a moment. */
const RETRY_AFTER_SECONDS = "5";

/** Answers an error as the OCI API writes them; what is no refusal is logged, and its words stay here. */
export function refuse(
  { logger }: { readonly logger: Logger },
  exchange: { readonly request: IncomingMessage; readonly response: ServerResponse },
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
  const headers = { ...(refusal.status === 503 && { "retry-after": RETRY_AFTER_SECONDS }), ...refusal.headers };
  writeJson(exchange, body, { status: refusal.status, headers });
  whenReceived(request, () => response.end());
}

/**
 * Calls `then` when the client has sent its request to the end, or the time for that is over. What ends a response may
 * end its connection; one that is closed with bytes unread is reset, and the client, or a proxy that asked for the
 * close, loses an answer that it has not read yet.
 */
function whenReceived(request: IncomingMessage, then: () => void): void {
  if (request.complete) {
    then();
    return;
  }
  const timer = setTimeout(() => request.destroy(), LINGER_MS);
  timer.unref();
  request.once("close", () => {
    clearTimeout(timer);
    then();
  });
  request.resume();
}

/** Forbidden and absent look the same. */
function asOciError(error: unknown): OciError {
  if (error instanceof OciError) return error;
  if (isStillpointError(error, "PERMISSION_DENIED")) return new OciError("NAME_UNKNOWN", "there is no such repository");
  return new OciError("UNKNOWN", "internal error", { cause: error });
}
