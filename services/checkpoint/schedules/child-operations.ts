import type { Operation } from "#contracts/operation/v1/operation";
import type { Clock } from "#libs/clock";
import { isStillpointError, StillpointError } from "#libs/errors";
import type { Operations } from "#libs/operations";

export interface ChildDeps {
  readonly operations: Pick<Operations, "watch">;
  readonly clock: Clock;
}

const busyPauseMs = 5_000;
/** Two minutes in all: another operation on the VM may take so long to end. */
const busyAttempts = 24;

/**
 * Asks for an operation, again while another holds its target, and gives it as it ended. Each attempt has a request
 * id of its own, made from `key`: who repeats all this after a crash is given the operation of the first.
 */
export async function runChild(
  { operations, clock }: ChildDeps,
  { key, ask, signal }: { key: string; ask: (requestId: string) => Promise<Operation>; signal: AbortSignal },
): Promise<Operation> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ended(operations, await ask(`${key} ${attempt}`), signal);
    } catch (error) {
      if (!isStillpointError(error, "TARGET_BUSY") || attempt === busyAttempts) throw error;
    }
    await clock.sleep(busyPauseMs, signal);
  }
}

async function ended(operations: ChildDeps["operations"], accepted: Operation, signal: AbortSignal) {
  if (accepted.done) return accepted;
  for await (const operation of operations.watch(accepted.name.slice("operations/".length), signal)) {
    if (operation.done) return operation;
  }
  signal.throwIfAborted();
  throw new StillpointError("UNAVAILABLE", `the watch of ${accepted.name} ended before it did`);
}
