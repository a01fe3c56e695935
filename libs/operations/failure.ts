import { isStillpointError, lacksResources, type Reason, StillpointError } from "#libs/errors";

const TRANSIENT: ReadonlySet<Reason> = new Set<Reason>([
  "UNAVAILABLE",
  "OUTCOME_UNKNOWN",
  "HOST_UNREACHABLE",
  "START_UNCONFIRMED",
  "REGISTRY_UNREACHABLE",
  "ENGINE_UNAVAILABLE",
  "RECORD_CONFLICT",
  "DEADLINE_EXCEEDED",
]);

/** True when the same step may well succeed a little later. */
export function isTransient(error: unknown): boolean {
  return isStillpointError(error) ? TRANSIENT.has(error.reason) : lacksResources(error);
}

/** True when a newer worker is at it: nothing is to be done here any more. */
export function isStale(error: unknown): boolean {
  return isStillpointError(error, "EPOCH_STALE");
}

/** What a step threw, as the error that the operation ends with. */
export function asFailure(error: unknown, where: string): StillpointError {
  if (isStillpointError(error)) return error;
  const why = error instanceof Error ? error.message : String(error);
  return new StillpointError("INTERNAL", `${where} failed: ${why}`, { cause: error });
}

export const cancelled = (id: string): StillpointError =>
  new StillpointError("OPERATION_CANCELLED", `operation ${id} was cancelled`);

/** What stays half-made, and why the undo was begun. */
export function undoFailure(error: unknown, step: string, first: string): StillpointError {
  const why = error instanceof Error ? error.message : String(error);
  const message = `${step} could not be undone: ${why} (undone because: ${first})`;
  return new StillpointError("UNDO_FAILED", message, { cause: error });
}
