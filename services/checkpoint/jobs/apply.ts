import { CheckpointState } from "#contracts/checkpoint/v1/checkpoint";
import { WorkloadState } from "#contracts/host/v1/agent";
import { VmState } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import type { Job, JobContext, JobOutput, Outcome, Step } from "#libs/operations";
import type { CheckpointStore } from "../records/checkpoint-store.ts";
import { stateOf } from "../records/workload-record.ts";
import { noCheckpoint, notReady } from "../requests/refusals.ts";
import { firstContext, takenFirst, type WithFirst } from "./checkpoint-first.ts";
import { createSteps, failedEvents } from "./create.ts";
import { heldVm, releaseVm } from "./held-vm.ts";
import type { JobDeps } from "./job-deps.ts";
import { viewOf, vmReaches } from "./vm-reaches.ts";

export interface ApplyInput extends WithFirst {
  readonly workloadUid: string;
  /** Resource name. */
  readonly checkpoint: string;
  readonly checkpointUid: string;
  /** The VM's generation id afterwards, so that software in the guest can tell that time has jumped. */
  readonly generationId: string;
}

/** How long the VM's record may lag behind what the host did. */
const settleMs = 15_000;

/**
 * Brings a VM back to a checkpoint. From the step `apply` on there is no way back: what now had is discarded, unless a
 * checkpoint of it was asked for; that is taken first, and without it nothing is applied.
 */
export function applyJob(deps: JobDeps): Job<ApplyInput> {
  return {
    kind: "checkpoint.apply",
    steps: [...takenFirst<ApplyInput>(createSteps(deps)), applyStep(deps), moveHeadStep(deps), settleStep(deps)],
    conclude: (context, outcome) => conclude(deps, context, outcome),
  };
}

function applyStep({ vms, store, agents }: JobDeps): Step<ApplyInput> {
  return {
    name: "apply",
    async run(context) {
      const { checkpoint, checkpointUid, generationId, workloadUid } = context.input;
      const { host } = await heldVm(vms, context);
      const stored = await store.records.get(checkpoint);
      if (stored === undefined) throw noCheckpoint(checkpoint);
      if (stored.body.state !== CheckpointState.READY) throw notReady(checkpoint);
      const value = { checkpointUid, generationId };
      const action = { $case: "applyCheckpoint", value } as const;
      const { workload } = await agents.runStep(context, { host, uid: workloadUid }, "apply", action);
      if (workload === undefined) throw new StillpointError("WORKLOAD_NOT_FOUND", `${host} has no ${context.target}`);
      return { state: stateOf(workload) };
    },
    /** It cannot be taken back: when the host has done it already, the head follows all the same. */
    async undo(context) {
      const { host } = await heldVm(vms, context);
      const { stepsDone } = await agents.settle(context, { host, uid: context.input.workloadUid });
      if (stepsDone.includes("apply")) await moveHead(store, context);
    },
  };
}

function moveHeadStep({ store }: JobDeps): Step<ApplyInput> {
  return {
    name: "move-head",
    async run(context) {
      await moveHead(store, context);
      return undefined;
    },
  };
}

function moveHead(store: CheckpointStore, { target, input }: JobContext<ApplyInput>): Promise<void> {
  const { checkpoint, checkpointUid, generationId, workloadUid } = input;
  const data = { name: checkpoint, workload: target, generationId };
  const events = [{ aggregate: "checkpoint", happened: "applied", data }];
  return store.moveHead({ name: target, uid: workloadUid }, { parent: checkpointUid, generationId }, events);
}

/**
 * Waits until the VM's record says what the host did, so that who waited for the operation reads the truth. Its
 * owner folds the host's observations in; when that takes too long the operation ends all the same, as it is done.
 */
function settleStep(deps: JobDeps): Step<ApplyInput> {
  return {
    name: "settle",
    async run(context) {
      const state = vmStates[String(context.outputs.apply?.state)];
      if (state === undefined) return undefined;
      const view = viewOf(deps, context.target);
      const reached = await vmReaches(view, context.target, state, { withinMs: settleMs, signal: context.signal });
      if (!reached) deps.logger.warn({ workload: context.target, state }, "its record lags behind its host");
      return { settled: reached };
    },
  };
}

const vmStates: Readonly<Record<string, VmState>> = {
  [WorkloadState.RUNNING]: VmState.RUNNING,
  [WorkloadState.PAUSED]: VmState.PAUSED,
  [WorkloadState.STOPPED]: VmState.STOPPED,
};

async function conclude(
  { vms }: JobDeps,
  context: JobContext<ApplyInput>,
  outcome: Outcome,
): Promise<JobOutput | undefined> {
  const { checkpoint, generationId } = context.input;
  const first = context.outputs.publish?.name;
  if (outcome.succeeded) {
    await releaseVm(vms, context);
    const state = vmStates[String(context.outputs.apply?.state)] ?? "";
    return { checkpoint, generationId, state, ...(first === undefined ? {} : { first }) };
  }
  const { reason, message } = outcome.error;
  const data = { name: checkpoint, workload: context.target, error: reason, message };
  const events = [{ aggregate: "checkpoint", happened: "apply_failed", data }];
  const own = firstContext(context);
  const isFirst = own !== undefined && first === undefined;
  await releaseVm(vms, context, isFirst ? [...failedEvents(own, outcome.error), ...events] : events);
  return undefined;
}
