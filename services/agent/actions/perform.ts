import type { CheckpointOutcome, StepResult } from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import { applyCheckpoint, checkApply } from "../checkpoints/apply.ts";
import { holdFrozen, takeHeld, thawHeld } from "../checkpoints/held.ts";
import { takeOffline } from "../checkpoints/offline.ts";
import { takeProduction } from "../checkpoints/production.ts";
import { pushToRegistry } from "../checkpoints/push.ts";
import { receiveCheckpoint } from "../checkpoints/receive.ts";
import { discardCheckpoint, removeCheckpoints } from "../checkpoints/remove.ts";
import { takeStandard } from "../checkpoints/standard.ts";
import { verifyCheckpoint } from "../checkpoints/verify.ts";
import { isContainer } from "../containers/container-folder.ts";
import { performOnContainer } from "../containers/perform-on-container.ts";
import type { StepAction, StepContext } from "../steps/step-runner.ts";
import type { Workload } from "../workload.ts";
import type { AgentParts } from "./agent-parts.ts";
import { createVm } from "./create-vm.ts";
import { deleteVm, pauseVm, rebootVm, resumeVm, startVm, stopVm } from "./power.ts";
import { setVmRecovery } from "./set-recovery.ts";

/** Carries out one action on a workload; each can be repeated after it was cut off anywhere. */
export async function perform(parts: AgentParts, context: StepContext, action: StepAction): Promise<StepResult> {
  if (isOnContainer(action) || isContainer(workloadOf(context, action))) {
    if (parts.containers !== undefined) return await performOnContainer(parts.containers, context, action);
    throw new StillpointError("CAPABILITY_MISSING", "this host has no container engine");
  }
  if (action.$case === "deleteVm") {
    await deleteVm(parts, context.uid);
    return { workload: undefined, checkpoint: undefined };
  }
  if (action.$case === "createVm") {
    const { definition } = action.value;
    if (definition === undefined) throw new StillpointError("ARGUMENT_INVALID", "the VM's definition is missing");
    return answer(context, await createVm(parts, context, definition));
  }
  if (action.$case === "pushCheckpoint") return await pushToRegistry(parts, context, action.value);
  const workload = parts.workloads.get(context.uid);
  const outcome = await performOn(parts, context, workload, action);
  return answer(context, workload, outcome);
}

/** A push goes by its checkpoint, so that it does not stand in the way of steps on the workload. */
function workloadOf({ uid }: StepContext, action: StepAction): string {
  return action.$case === "pushCheckpoint" ? action.value.workloadUid : uid;
}

type OnContainer = Extract<StepAction, { readonly $case: `${string}Container` }>;

function isOnContainer(action: StepAction): action is OnContainer {
  return action.$case.endsWith("Container");
}

type OnWorkload = Exclude<StepAction, OnContainer | { readonly $case: "createVm" | "deleteVm" | "pushCheckpoint" }>;

async function performOn(
  parts: AgentParts,
  context: StepContext,
  workload: Workload,
  action: OnWorkload,
): Promise<CheckpointOutcome | undefined> {
  switch (action.$case) {
    case "takeProduction":
      return await takeProduction(parts, context, workload, action.value);
    case "takeStandard":
      return await takeStandard(parts, context, workload, action.value);
    case "takeOffline":
      return await takeOffline(parts, context, workload, action.value);
    case "prepareHeld":
      return nothingToPrepare;
    case "holdFrozen":
    case "takeHeld":
    case "thawHeld":
      return await takeWithOthers(parts, context, workload, action);
    case "verifyCheckpoint":
      return await verifyCheckpoint(parts, workload, action.value);
    case "discardCheckpoint":
      await discardCheckpoint(parts, context, workload, action.value);
      return undefined;
    case "checkApply":
      await checkApply(parts, workload, action.value);
      return undefined;
    case "applyCheckpoint":
      await applyCheckpoint(parts, workload, action.value);
      return undefined;
    case "receiveCheckpoint":
      return await receiveCheckpoint(parts, context, workload, action.value);
    case "removeCheckpoints":
      await removeCheckpoints(parts, workload, action.value);
      return undefined;
    case "setVmRecovery":
      await setVmRecovery(workload, action.value.recovery);
      return undefined;
    case "startVm":
    case "stopVm":
    case "pauseVm":
    case "resumeVm":
    case "rebootVm":
      await changePower(parts, context, workload, action);
      return undefined;
  }
}

/** A VM's disks are not copied. */
const nothingToPrepare: CheckpointOutcome = { refusedReason: "", refusedDetail: "", evidence: {}, sizeBytes: 0 };

type HeldAction = Extract<OnWorkload, { readonly $case: "holdFrozen" | "takeHeld" | "thawHeld" }>;

async function takeWithOthers(parts: AgentParts, context: StepContext, workload: Workload, action: HeldAction) {
  switch (action.$case) {
    case "holdFrozen":
      return await holdFrozen(parts, context, workload, action.value);
    case "takeHeld":
      return await takeHeld(parts, workload, action.value);
    case "thawHeld":
      return await thawHeld(parts, workload, action.value);
  }
}

type PowerAction = Extract<OnWorkload, { readonly $case: "startVm" | "stopVm" | "pauseVm" | "resumeVm" | "rebootVm" }>;

async function changePower(parts: AgentParts, context: StepContext, workload: Workload, action: PowerAction) {
  switch (action.$case) {
    case "startVm":
      return await startVm(parts, workload);
    case "stopVm":
      return await stopVm(parts, context, workload, action.value);
    case "pauseVm":
      return await pauseVm(workload);
    case "resumeVm":
      return await resumeVm(workload);
    case "rebootVm":
      return await rebootVm(parts, context, workload, action.value.force);
  }
}

async function answer({ epoch }: StepContext, workload: Workload, checkpoint?: CheckpointOutcome): Promise<StepResult> {
  return { workload: await workload.describe(epoch), checkpoint };
}
