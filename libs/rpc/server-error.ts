import { ServerError } from "nice-grpc-common";
import { ErrorInfo, Help, RichServerError } from "nice-grpc-error-details";
import { isStillpointError, lacksResources, StillpointError } from "#libs/errors";
import type { Logger } from "#libs/logger";

/** Whose reasons they are, in google.rpc.ErrorInfo. */
export const errorDomain = "stillpoint";

/** The call in which something was thrown. */
export interface FailedCall {
  readonly method: string;
  readonly requestId: string;
  readonly signal: AbortSignal;
  readonly logger: Logger;
}

/**
 * A StillpointError crosses whole. A call that its caller left is cancelled; an abort of our own means that we stop.
 * Anything else is a bug: the caller learns no more than the request id, the log gets the stack.
 */
export function toServerError(error: unknown, call: FailedCall): unknown {
  if (error instanceof ServerError) return error;
  if (isStillpointError(error)) return toStatus(error, call.requestId);
  if (error instanceof Error && error.name === "AbortError") {
    if (call.signal.aborted) return error;
    return toStatus(new StillpointError("UNAVAILABLE", "the service is stopping", { cause: error }), call.requestId);
  }
  if (lacksResources(error)) {
    call.logger.error({ err: error, method: call.method }, "the process is short of file descriptors or memory");
    const told = new StillpointError("UNAVAILABLE", "the service is short of files or memory", { cause: error });
    return toStatus(told, call.requestId);
  }
  call.logger.error({ err: error, method: call.method }, "a handler failed");
  const told = new StillpointError("INTERNAL", `internal error (request ${call.requestId})`, { cause: error });
  return toStatus(told, call.requestId);
}

function toStatus(error: StillpointError, requestId: string): RichServerError {
  const metadata = { ...error.metadata, requestId };
  return new RichServerError(error.code, error.message, [
    ErrorInfo.fromPartial({ reason: error.reason, domain: errorDomain, metadata }),
    Help.fromPartial({ links: [{ description: error.help }] }),
  ]);
}
