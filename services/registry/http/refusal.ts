import type { IncomingMessage, ServerResponse } from "node:http";
import { isStillpointError } from "#libs/errors";
import type { Logger } from "#libs/logger";
import { OciError } from "../domain/oci-error.ts";
import { answerJson } from "./exchange.ts";

/** How long a client may go on to send what was refused, so that it reads why before the connection ends. */
const LINGER_MS = 5_000;

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
  answerJson(exchange, body, { status: refusal.status, headers: refusal.headers });
  if (!request.complete) linger(request);
}

function linger(request: IncomingMessage): void {
  const timer = setTimeout(() => request.destroy(), LINGER_MS);
  timer.unref();
  request.once("close", () => clearTimeout(timer));
  request.resume();
}

/** Forbidden and absent look the same. */
function asOciError(error: unknown): OciError {
  if (error instanceof OciError) return error;
  if (isStillpointError(error, "PERMISSION_DENIED")) return new OciError("NAME_UNKNOWN", "there is no such repository");
  return new OciError("UNKNOWN", "internal error", { cause: error });
}
