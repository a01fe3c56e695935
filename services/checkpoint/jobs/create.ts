import type { StillpointError } from "#libs/errors";
import type { Job, JobContext, JobOutput, Outcome, Step } from "#libs/operations";
import type { RecordEvent } from "#libs/records";
import { excludedDisks } from "../domain/exclusions.ts";
import { chooseType, decideFirst } from "../domain/policy.ts";
import { treeOf } from "../records/checkpoint-store.ts";
import { policyType, typeWords } from "../records/contract-words.ts";
import { conditionOfWorkload } from "../records/workload-record.ts";
import { windowMs } from "../requests/freeze-window.ts";
import { projectType } from "../requests/projects.ts";
import { full, nameTaken, notTaken, typeRefused, wrongState } from "../requests/refusals.ts";
import type { CreateInput, Prepared } from "./create-state.ts";
import { freezeEvents } from "./freeze-events.ts";
import { heldVm, releaseVm } from "./held-vm.ts";
import { hindrancesOf } from "./hindrances.ts";
import type { JobDeps } from "./job-deps.ts";
import { publishStep } from "./publish.ts";
import { discardUnproven, offlineStep, productionStep, refuseStep, standardStep, verifyStep } from "./take.ts";

/**
 * Takes a checkpoint of a VM that the operation holds. Its record is written last, so that nobody sees half of one;
 * when anything fails before, the host discards what it took.
 */
export function createJob(deps: JobDeps): Job<CreateInput> {
  return {
    kind: "checkpoint.create",
    steps: createSteps(deps),
    conclude: (context, outcome) => conclude(deps, context, outcome),
  };
}

/** From the VM as it is to the checkpoint's record; the last one's output says what came of it. */
export function createSteps(deps: JobDeps): Step<CreateInput>[] {
  return [
    prepareStep(deps),
    productionStep(deps),
    offlineStep(deps),
    verifyStep(deps),
    refuseStep(),
    discardUnproven(deps),
    standardStep(deps),
    publishStep(deps),
  ];
}

/** Decides from the VM as its host sees it now, under the hold of this operation. */
export function prepareStep(deps: JobDeps): Step<CreateInput> {
  return {
    name: "prepare",
    async run(context) {
      const vm = await heldVm(deps.vms, context);
      const { asked, workloadUid, excludeDisks = [] } = context.input;
      const choice = chooseType(asked, policyType(vm.spec?.checkpointType, await projectType(deps, vm.name)));
      if (!choice.allowed) throw typeRefused(vm.name, choice.why, asked);
      const parent = await parentOfNext(deps, context, vm.host);
      const workload = await deps.agents.getWorkload({ host: vm.host, uid: workloadUid }, context.signal);
      const condition = workload && conditionOfWorkload(workload);
      if (condition === undefined) throw wrongState(vm.name, vm.state);
      const disks = vm.spec?.disks ?? [];
      const excluded = excludedDisks(disks, excludeDisks);
      const hindrances = await hindrancesOf(deps, vm, excluded);
      const decision = decideFirst(choice.type, condition, hindrances);
      if (decision.action === "refuse") throw notTaken(vm.name, choice.type, decision.cause);
      const freezeWindowMs = windowMs(vm.spec?.freezeWindow);
      const { memory: noMemory } = hindrances;
      const decided = { type: choice.type, decision, freezeWindowMs, excluded };
      const prepared: Prepared = { host: vm.host, parent, ...decided, ...(noMemory && { noMemory }) };
      return { ...prepared };
    },
  };
}

/** The checkpoint that the next one stands on. Fails when there is no room for it, or its name is taken. */
async function parentOfNext(
  { store, limit }: JobDeps,
  { target, input }: JobContext<CreateInput>,
  host: string,
): Promise<string> {
  const tree = treeOf(await store.tree({ name: target, uid: input.workloadUid }));
  if (tree.nodes.length >= limit) throw full(target, limit);
  if (tree.nodes.some(({ displayName }) => displayName === input.displayName))
    throw nameTaken(target, input.displayName);
  // One that stayed behind on another host is nothing that it can stand on.
  return tree.nodes.find(({ uid }) => uid === tree.head)?.host === host ? tree.head : "";
}

async function conclude(
  { vms }: JobDeps,
  context: JobContext<CreateInput>,
  outcome: Outcome,
): Promise<JobOutput | undefined> {
  if (outcome.succeeded) {
    await releaseVm(vms, context);
    return context.outputs.publish;
  }
  await releaseVm(vms, context, failedEvents(context, outcome.error));
  return undefined;
}

/** What tells why a checkpoint was not taken, and that the guest was held all the same. */
export function failedEvents(context: JobContext<CreateInput>, error: StillpointError): RecordEvent[] {
  const { asked, displayName } = context.input;
  const { reason, message, metadata } = error;
  const data = {
    workload: context.target,
    displayName,
    ...(asked === undefined ? {} : { asked: typeWords[asked] }),
    reason: metadata.productionReason ?? metadata.reason ?? reason,
    error: reason,
    message,
  };
  return [...freezeEvents(context), { aggregate: "checkpoint", happened: "failed", data }];
}
