import { isStillpointError, StillpointError } from "#libs/errors";
import { isUnanswered, rawCodec } from "#libs/records";
import type { StoredOperation } from "./operation-record.ts";
import { refused } from "./operation-state.ts";
import type { Operations } from "./operations.ts";

const PATIENCE = { forMs: 10_000 };

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
  if (acquire.create === undefined) return await giveUp(operations, stored);
  try {
    await operations.targets.acquire(record, { codec: rawCodec, ...acquire, create: acquire.create });
    return stored;
  } catch (error) {
    if (!isStillpointError(error) || isUnanswered(error)) throw error;
    await operations.refuse(record.id, error);
    return undefined;
  }
}

/**
 * The accept may still come back from a long sleep. If it read the target before the bump, its write fails; if it
 * looked after, it has touched the operation before it writes, and the refusal fails.
 */
async function giveUp(operations: Operations, stored: StoredOperation): Promise<StoredOperation | undefined> {
  const { targets, log, deps } = operations;
  const { record } = stored;
  await targets.bump(record.target);
  if (await targets.holds(record)) return stored;
  const why = `${record.kind} on ${record.target} was given up: the process that accepted it ended`;
  const refusal = refused(new StillpointError("OPERATION_ABANDONED", why));
  try {
    await log.move(stored, refusal, deps.random.id("give-up"), PATIENCE);
  } catch (error) {
    if (!isStillpointError(error, "RECORD_CONFLICT")) throw error;
  }
  return undefined;
}
