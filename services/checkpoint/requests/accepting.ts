import type { AcceptRequest } from "#libs/operations";
import type { CallScope } from "#libs/rpc";

/** What every job is accepted with, whoever asks for it. */
export function accepting(
  { principal, traceparent }: Pick<CallScope, "principal" | "traceparent">,
  { target, project, requestId }: Pick<AcceptRequest, "target" | "project"> & { readonly requestId: string },
): Omit<AcceptRequest, "kind" | "input"> {
  const trace = traceparent === undefined ? {} : { traceparent };
  return { target, principal: principal.name, project, requestId, ...trace };
}
