import { isStillpointError, StillpointError } from "#libs/errors";
import { rawCodec } from "#libs/records";
import type { StoredOperation } from "./operation-record.ts";
import type { Operations } from "./operations.ts";

/**
 * For an operation that was found waiting: whoever accepted it may have died before it held its target. Then a target
 * that is to be made is made now. One that existed cannot be checked here any more, so that the operation is refused:
 * nobody was told that it was accepted. Undefined when it may not be run.
 */
export async function ensureAcquired(
  operations: Operations,
  stored: StoredOperation,
): Promise<StoredOperation | undefined> {
  const { record } = stored;
  const { acquire } = record;
  if (record.state !== "pending" || acquire === undefined || (await operations.targets.holds(record))) return stored;
  try {
    if (acquire.create !== undefined) {
      await operations.targets.acquire(record, { codec: rawCodec, create: acquire.create });
      return stored;
    }
    const why = `${record.kind} on ${record.target} was given up: the process that accepted it ended`;
    await operations.refuse(record.id, new StillpointError("UNAVAILABLE", why));
    await operations.targets.bump(record.target);
  } catch (error) {
    if (!isStillpointError(error, "RECORD_CONFLICT")) throw error;
    await operations.refuse(record.id, error);
  }
  return undefined;
}
