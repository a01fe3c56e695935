import type { CallContext, ServerMiddleware } from "nice-grpc-common";
import { localPrincipal, type Principal } from "#libs/auth";
import { systemRandom } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { Logger } from "#libs/logger";
import { enterIds, traceparent } from "#libs/telemetry";
import { callerPrincipal } from "./caller.ts";
import { callIdHeader } from "./named-call.ts";
import { previousAttemptsHeader } from "./retried-call.ts";
import { toServerError } from "./server-error.ts";

/** What every handler knows about its call, beside the CallContext of nice-grpc. */
export interface CallScope {
  readonly principal: Principal;
  /** The caller's x-request-id, or a new one; also in the response's headers, in log lines and in calls made from here. */
  readonly requestId: string;
  /** The same for every attempt of one call; see `callUid`. */
  readonly callId: string;
  /** How often this call has been made before; by then it may have done all that it asks for, unheard. */
  readonly previousAttempts: number;
  /** Aborted when the caller left; for a stream also when the server begins to close. */
  readonly signal: AbortSignal;
  /** W3C trace context; undefined when telemetry is off. */
  readonly traceparent?: string;
}

export interface CallScopeOptions {
  readonly logger: Logger;
  /** Ends streams. */
  readonly closing: AbortSignal;
  /** Callers are known by their certificates; else they reached a loopback port or a socket of mode 0600. */
  readonly isSecure: boolean;
  /** Who may call at all. */
  readonly admits: (principal: Principal) => boolean;
  /** Callers under TLS are nobody. */
  readonly anyone: boolean;
}

const nobody: Principal = { name: "nobody", kind: "user" };

/** Gives each call its scope, and turns what a handler throws into a status. */
export function callScope(options: CallScopeOptions): ServerMiddleware<CallScope> {
  return async function* (call, context) {
    const requestId = requestIdOf(context);
    context.header.set("x-request-id", requestId);
    enterIds({ requestId });
    const parent = traceparent() ?? context.metadata.get("traceparent");
    try {
      const scope: CallScope = {
        principal: callerOf(options, context, call.method.path),
        requestId,
        ...attemptOf(context),
        signal: call.responseStream ? AbortSignal.any([context.signal, options.closing]) : context.signal,
        ...(parent === undefined ? {} : { traceparent: parent }),
      };
      const result = yield* call.next(call.request, { ...context, ...scope });
      // A watch that ends because we stop has not come to its end: it is asked for again elsewhere.
      if (call.responseStream && !context.signal.aborted) options.closing.throwIfAborted();
      return result;
    } catch (error) {
      const { logger } = options;
      throw toServerError(error, { method: call.method.path, requestId, signal: context.signal, logger });
    }
  };
}

const attemptOf = (context: CallContext): Pick<CallScope, "callId" | "previousAttempts"> => ({
  callId: idOf(context, callIdHeader) ?? systemRandom.id("call"),
  previousAttempts: Number(context.metadata.get(previousAttemptsHeader) ?? 0) || 0,
});

/** @throws StillpointError PERMISSION_DENIED for who may not call here */
function callerOf(options: CallScopeOptions, { metadata }: CallContext, path: string): Principal {
  const { isSecure, admits, anyone } = options;
  const known = anyone ? nobody : callerPrincipal(metadata);
  const principal = isSecure ? known : localPrincipal;
  if (principal !== undefined && admits(principal)) return principal;
  throw new StillpointError("PERMISSION_DENIED", `${path} was not found`);
}

const requestIdOf = (context: CallContext): string => idOf(context, "x-request-id") ?? systemRandom.id("req");

function idOf({ metadata }: CallContext, header: "x-request-id" | typeof callIdHeader): string | undefined {
  const given = metadata.get(header);
  return given !== undefined && /^[\w.-]{1,128}$/.test(given) ? given : undefined;
}
