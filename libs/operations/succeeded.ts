import { type Operation, OperationState } from "#contracts/operation/v1/operation";
import { errorTable, type Reason, StillpointError } from "#libs/errors";
import { parseOperationName } from "#libs/names";
import type { Operations } from "./operations.ts";

/**
 * Waits for an operation's end, for a call that answers only then. Fails with the operation's own error unless it
 * succeeded; the operation goes on when the signal aborts.
 */
export async function succeeded(
  operations: Pick<Operations, "watch">,
  accepted: Operation,
  signal: AbortSignal,
): Promise<Operation> {
  let last = accepted;
  if (!last.done) {
    for await (const seen of operations.watch(parseOperationName(accepted.name), signal)) last = seen;
  }
  signal.throwIfAborted();
  if (last.state === OperationState.SUCCEEDED) return last;
  if (last.error === undefined)
    throw new StillpointError("UNAVAILABLE", `the watch of ${last.name} ended before it did`);
  const { reason, message, help } = last.error;
  throw new StillpointError(Object.hasOwn(errorTable, reason) ? (reason as Reason) : "INTERNAL", message, { help });
}
