import type { CallContext, ServerMiddleware } from "nice-grpc-common";
import { localPrincipal, type Principal } from "#libs/auth";
import { systemRandom } from "#libs/clock";
import type { Logger } from "#libs/logger";
import { enterIds, traceparent } from "#libs/telemetry";
import { toServerError } from "./server-error.ts";

/** What every handler knows about its call, beside the CallContext of nice-grpc. */
export interface CallScope {
  readonly principal: Principal;
  /** The caller's x-request-id, or a new one; also in the response's headers, in log lines and in calls made from here. */
  readonly requestId: string;
  /** Aborted when the caller left; for a stream also when the server begins to close. */
  readonly signal: AbortSignal;
  /** W3C trace context; undefined when telemetry is off. */
  readonly traceparent?: string;
}

/** Gives each call its scope, and turns what a handler throws into a status. */
export function callScope(logger: Logger, closing: AbortSignal): ServerMiddleware<CallScope> {
  return async function* (call, context) {
    const requestId = requestIdOf(context);
    context.header.set("x-request-id", requestId);
    enterIds({ requestId });
    const parent = traceparent() ?? context.metadata.get("traceparent");
    const scope: CallScope = {
      // Servers listen only on loopback and on sockets of mode 0600: see listen().
      principal: localPrincipal,
      requestId,
      signal: call.responseStream ? AbortSignal.any([context.signal, closing]) : context.signal,
      ...(parent === undefined ? {} : { traceparent: parent }),
    };
    try {
      return yield* call.next(call.request, { ...context, ...scope });
    } catch (error) {
      throw toServerError(error, { method: call.method.path, requestId, signal: context.signal, logger });
    }
  };
}

function requestIdOf({ metadata }: CallContext): string {
  const given = metadata.get("x-request-id");
  return given !== undefined && /^[\w.-]{1,128}$/.test(given) ? given : systemRandom.id("req");
}
