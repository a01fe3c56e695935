import type { CompatServiceDefinition } from "nice-grpc/lib/service-definitions/index.js";
import { type CallOptions, type ClientMiddleware, Metadata } from "nice-grpc-common";
import { systemRandom } from "#libs/clock";
import { currentIds, traceparent } from "#libs/telemetry";

/** Names a call over all its attempts: a server that sees it a second time does not do it again. */
export const callIdHeader = "x-call-id";

/**
 * Gives each call an id, in its metadata and, where its request has a `request_id` that its maker left empty, there:
 * repetitions then give the same operation. Passes on the ids of the call within which it is made.
 */
export function namedCall(definition: CompatServiceDefinition): ClientMiddleware {
  const withRequestId = pathsWithRequestId(definition);
  return async function* (call, options) {
    const callId = systemRandom.id("call");
    const metadata = callMetadata(options.metadata, callId);
    const isUnnamed = !call.requestStream && withRequestId.has(call.method.path);
    const request = isUnnamed ? known(call.request, callId) : call.request;
    return yield* call.next(request, { ...options, metadata });
  };
}

function known<Request>(request: Request, callId: string): Request {
  const { requestId = "" } = request as { readonly requestId?: string };
  return requestId === "" ? { ...request, requestId: callId } : request;
}

function callMetadata(given: CallOptions["metadata"], callId: string): Metadata {
  const metadata = Metadata(given);
  metadata.set(callIdHeader, callId);
  const { requestId } = currentIds();
  const parent = traceparent();
  if (requestId !== undefined && !metadata.has("x-request-id")) metadata.set("x-request-id", requestId);
  if (parent !== undefined && !metadata.has("traceparent")) metadata.set("traceparent", parent);
  return metadata;
}

/** The form of definitions that ts-proto generates; those of grpc.health have no `fromPartial`. */
interface GenericDefinition {
  readonly fullName: string;
  readonly methods: Readonly<
    Record<string, { readonly name: string; readonly requestType: { fromPartial?(value: object): object } }>
  >;
}

function pathsWithRequestId(definition: CompatServiceDefinition): ReadonlySet<string> {
  const { fullName = "", methods = {} } = definition as Partial<GenericDefinition>;
  const named = Object.values(methods).filter(
    ({ requestType }) => "requestId" in (requestType.fromPartial?.({}) ?? {}),
  );
  return new Set(named.map(({ name }) => `/${fullName}/${name}`));
}
