import type { Checkpoint } from "#contracts/checkpoint/v1/checkpoint";
import { WorkloadState } from "#contracts/host/v1/agent";
import { StillpointError as Failure, type StillpointError } from "#libs/errors";
import { operationName } from "#libs/names";
import type { Job, JobContext, JobOutput, Outcome, Step } from "#libs/operations";
import type { RecordChange, StoredRecord } from "#libs/records";
import { type DrillResult, drillReceipt, withDrill } from "../domain/drill.ts";
import { sha256 } from "../records/digest.ts";
import { isContainerName } from "../records/workload-record.ts";
import { removeVm } from "./made-vm.ts";
import { freeNewVm, type NewVmDeps, newVmSteps } from "./new-vm-steps.ts";
import { type ReceivingInput, receiverOf } from "./receive-state.ts";
import { containerWaiting, guestWaiting } from "./trial-readiness.ts";
import { tryWorkload } from "./try-workload.ts";

export interface DrillInput extends ReceivingInput {
  /** Program and arguments; empty for nothing but waiting until it is up. */
  readonly command: readonly string[];
  readonly timeoutMs: number;
}

type Context = JobContext<DrillInput>;

/**
 * Tries a checkpoint in a clone of its own that reaches nothing, and removes the clone whatever happened. A checkpoint
 * that does not prove itself ends the operation as failed; the result is kept with the checkpoint in any case.
 */
export function drillJob(deps: NewVmDeps): Job<DrillInput> {
  const { create, hold, receive, apply, start } = newVmSteps(deps);
  return {
    kind: "checkpoint.drill",
    steps: [create, hold, receive, apply, start, resumeStep(deps), tryStep(deps), removeStep(deps), judgeStep()],
    conclude: (context, outcome) => conclude(deps, context, outcome),
  };
}

/** A checkpoint of a VM that its user had paused comes back paused. */
function resumeStep({ agents }: NewVmDeps): Step<DrillInput> {
  return {
    name: "resume",
    skip: ({ outputs }) => outputs.apply?.state !== WorkloadState.PAUSED,
    async run(context) {
      await agents.runStep(context, receiverOf(context), "resume", { $case: "resumeVm", value: {} });
      return undefined;
    },
  };
}

/** Waits until it is up and runs the command. What fails in it is a result, not an error. */
function tryStep(deps: NewVmDeps): Step<DrillInput> {
  return {
    name: "try",
    async run(context) {
      const begun = new Date(String(context.outputs.hold?.time));
      const { command, timeoutMs } = context.input;
      const at = receiverOf(context);
      const waiting = isContainerName(at.name) ? containerWaiting : guestWaiting;
      return { ...(await tryWorkload(deps, at, { begun, command, timeoutMs, waiting, signal: context.signal })) };
    },
  };
}

function removeStep(deps: NewVmDeps): Step<DrillInput> {
  return {
    name: "remove",
    async run(context) {
      await removeVm(deps, context, receiverOf(context));
      return undefined;
    },
  };
}

function judgeStep(): Step<DrillInput> {
  return {
    name: "judge",
    async run(context) {
      const { passed, reason, detail } = resultOf(context);
      if (passed) return undefined;
      const { target } = context;
      throw new Failure("DRILL_FAILED", `${target} did not prove itself: ${detail}`, { metadata: { reason } });
    },
  };
}

const resultOf = ({ outputs }: Context): DrillResult => outputs.try as unknown as DrillResult;

async function conclude(deps: NewVmDeps, context: Context, outcome: Outcome): Promise<JobOutput | undefined> {
  await freeNewVm(deps, context);
  const result = context.outputs.try === undefined ? brokenOff(context, outcome) : resultOf(context);
  const { operationId, target } = context;
  await deps.store.records.modify(target, (stored) => {
    if (stored.operation !== operationId) return undefined;
    return result === undefined ? { operation: null } : drilled(stored, context, { result, now: deps.clock.now() });
  });
  return outcome.succeeded ? { checkpoint: target, ...result } : undefined;
}

/** A drill that came to no result: told as failed, unless somebody wanted its end. */
function brokenOff({ input }: Context, outcome: Outcome): DrillResult | undefined {
  if (outcome.succeeded || outcome.error.reason === "OPERATION_CANCELLED") return undefined;
  const { reason, message }: StillpointError = outcome.error;
  return { passed: false, reason, detail: message, command: input.command };
}

/** The checkpoint with its drill: as its last one, in its receipt, and told. */
function drilled(
  { name, body }: StoredRecord<Checkpoint>,
  { operationId }: Context,
  { result, now }: { readonly result: DrillResult; readonly now: Date },
): RecordChange<Checkpoint> {
  const lastDrill = drillReceipt(result, operationName(operationId), now);
  const receipt = withDrill(body.receipt ?? {}, lastDrill, sha256);
  const proven = result.passed ? { provenTime: now } : {};
  const { output: _output, ...told } = result;
  const data = { name, displayName: body.displayName, ...told, receiptDigest: receipt.digest };
  return {
    body: { ...body, ...proven, lastDrill, receipt, updateTime: now },
    operation: null,
    events: [{ aggregate: "checkpoint", happened: result.passed ? "proven" : "drill_failed", data }],
  };
}
