import type { Clock } from "#libs/clock";
import { isStillpointError, StillpointError } from "#libs/errors";
import { appendSurely, type Log } from "#libs/records";
import { decodeOperation, encodeOperation, isTerminal, subjectOfOperation } from "./operation-record.ts";
import { concludeFailed } from "./operation-state.ts";

/**
 * Writes an operation of a backup where there is none of its id. One that was not finished then is over, and never gone
 * on with: what it was about may have changed since, by itself too. False when there is one already.
 */
export async function restoreOperation(log: Log, clock: Clock, data: Uint8Array): Promise<boolean> {
  const { record } = decodeOperation({ data, sequence: 0, subject: "", time: clock.now() });
  const { acquire: _never, ...rest } = record;
  const error = new StillpointError(
    "OPERATION_RESTORED",
    `operation ${record.id} was not finished when it was backed up`,
  );
  const over = isTerminal(record) ? record : concludeFailed(error)(rest);
  const write = `${record.id}.restored`;
  const message = encodeOperation({ ...over, write });
  const sure = { subject: subjectOfOperation(record.id), data: message, expectedSequence: 0, messageId: write };
  try {
    await appendSurely(log, sure, { clock, forMs: 10_000 });
    return true;
  } catch (cause) {
    if (isStillpointError(cause, "RECORD_CONFLICT")) return false;
    throw cause;
  }
}
