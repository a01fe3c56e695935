import type { Operation } from "#contracts/operation/v1/operation";
import { errorTable, isStillpointError, type Reason, StillpointError } from "#libs/errors";
import type { Api } from "./api.ts";
import { createProgressView, type ProgressView } from "./output/progress.ts";
import { showStep } from "./output/step-words.ts";
import { lastPart } from "./output/units.ts";

const giveUpMs = 30_000;

/** The options of a command that starts an operation. */
export interface WaitOptions {
  readonly async?: boolean;
}

/**
 * Shows an operation's progress until it is done, also over a restart of the server, and gives it as it ended. Fails
 * with the operation's own error, and with UNAVAILABLE when the server stays away for 30 s; the operation goes on then.
 */
export async function waitForOperation(api: Api, accepted: Operation): Promise<Operation> {
  const view = createProgressView(api.terminal);
  try {
    const operation = accepted.done ? accepted : await watchToEnd(api, accepted, view);
    if (operation.state !== "OPERATION_STATE_SUCCEEDED") throw failureOf(operation);
    return operation;
  } finally {
    view.end();
  }
}

async function watchToEnd(api: Api, { name }: Operation, view: ProgressView): Promise<Operation> {
  const operations = await api.operations();
  const { signal } = api.terminal;
  let lastHeard = performance.now();
  const watch = async (): Promise<Operation | undefined> => {
    for await (const operation of operations.watchOperation({ name }, { signal })) {
      lastHeard = performance.now();
      if (operation.done) return operation;
      const step = showStep(operation.progress?.step ?? "");
      if (step !== undefined) view.update({ what: operation.kind, ...operation.progress, step });
    }
    return undefined;
  };
  const mayComeBack = (error: unknown): undefined => {
    if (signal.aborted) throw goesOn("CANCELLED", "interrupted", name, error);
    if (!isStillpointError(error, "UNAVAILABLE")) throw error;
    if (performance.now() - lastHeard > giveUpMs) throw goesOn("UNAVAILABLE", "the server went away", name, error);
  };
  for (;;) {
    const operation = await watch().catch(mayComeBack);
    if (operation !== undefined) return operation;
    await pause(signal);
  }
}

const pause = async (signal: AbortSignal): Promise<void> => {
  const { setTimeout: sleep } = await import("node:timers/promises");
  await sleep(200, undefined, { signal });
};

const goesOn = (reason: Reason, what: string, name: string, cause: unknown) =>
  new StillpointError(reason, `${what} while ${name} was running`, {
    cause,
    help: `It goes on. See it with: stillpoint operation wait ${lastPart(name)}`,
  });

/** The error that an operation ended with. */
function failureOf({ name, state, error }: Operation): StillpointError {
  const reason = error?.reason ?? (state === "OPERATION_STATE_CANCELLED" ? "OPERATION_CANCELLED" : "INTERNAL");
  const known = Object.hasOwn(errorTable, reason);
  const help = error?.help ?? "";
  return new StillpointError(known ? (reason as Reason) : "INTERNAL", error?.message ?? `${name} did not succeed`, {
    ...(help === "" ? {} : { help }),
    // The server answered, whatever the reason says; and a reason that is new to us is shown as it came.
    metadata: { requestId: name, ...(known ? {} : { foreignReason: reason }) },
  });
}
