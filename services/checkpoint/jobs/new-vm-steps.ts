import { WorkloadState } from "#contracts/host/v1/agent";
import { VmState } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import type { JobContext, Step } from "#libs/operations";
import { isContainerName, stateOf } from "../records/workload-record.ts";
import type { JobDeps } from "./job-deps.ts";
import { freeVm, holdVm, type MadeVmDeps, makeVm, removeVm, unmakeVm, type WantedVm } from "./made-vm.ts";
import { madeVm, type ReceivingInput, receiveAction, receiverOf } from "./receive-state.ts";
import { viewOf, vmReaches } from "./vm-reaches.ts";

export type NewVmDeps = JobDeps & MadeVmDeps;

type Steps = Readonly<Record<"create" | "hold" | "receive" | "apply" | "start", Step<ReceivingInput>>>;

/** How long the VM's record may lag behind what the host did. */
const settleMs = 15_000;

/**
 * The steps that make a VM or container from a checkpoint, in their order. The undo of the first removes all that they made, as it
 * removes the VM.
 */
export function newVmSteps(deps: NewVmDeps): Steps {
  const { agents } = deps;
  const isOld = ({ input }: JobContext<ReceivingInput>) => input.newVm === undefined;
  return {
    create: createStep(deps),
    hold: {
      name: "hold",
      skip: isOld,
      async run(context) {
        const { name, uid } = receiverOf(context);
        await holdVm(deps, context, name, uid);
        return { time: deps.clock.now().toISOString() };
      },
    },
    receive: {
      name: "receive",
      async run(context) {
        const { source, checkpointUid } = context.input;
        const value = receiveAction(source, checkpointUid);
        const action = { $case: "receiveCheckpoint", value } as const;
        const { checkpoint } = await agents.runStep(context, receiverOf(context), "receive", action);
        return { sizeBytes: checkpoint?.sizeBytes ?? 0 };
      },
    },
    apply: {
      name: "apply",
      skip: isOld,
      async run(context) {
        const { checkpointUid, generationId, start } = context.input;
        const action = { $case: "applyCheckpoint", value: { checkpointUid, generationId, leaveOff: !start } } as const;
        const { workload } = await agents.runStep(context, receiverOf(context), "apply", action);
        return { state: workload === undefined ? WorkloadState.STOPPED : stateOf(workload) };
      },
    },
    start: startStep(deps),
  };
}

function createStep(deps: NewVmDeps): Step<ReceivingInput> {
  return {
    name: "create-vm",
    skip: ({ input }) => input.newVm === undefined,
    async run(context) {
      return { ...(await makeVm(deps, context, wantedVm(context))) };
    },
    async undo(context) {
      const wanted = wantedVm(context);
      const made = madeVm(context);
      if (made === undefined) await unmakeVm(deps, context, wanted);
      else await removeVm(deps, context, { name: wanted.name, uid: made.uid });
    },
  };
}

/** A standard checkpoint runs as soon as it is applied. Waits until the VM's record says so too. */
function startStep(deps: NewVmDeps): Step<ReceivingInput> {
  const { agents, logger } = deps;
  return {
    name: "start",
    skip: ({ input }) => input.newVm === undefined || !input.start,
    async run(context) {
      const { name, ...at } = receiverOf(context);
      if (context.outputs.apply?.state === WorkloadState.STOPPED) {
        await agents.runStep(context, at, "start", {
          $case: isContainerName(name) ? "startContainer" : "startVm",
          value: {},
        });
      }
      const paused = context.outputs.apply?.state === WorkloadState.PAUSED;
      const state = paused ? VmState.PAUSED : VmState.RUNNING;
      const settled = await vmReaches(viewOf(deps, name), name, state, { withinMs: settleMs, signal: context.signal });
      if (!settled) logger.warn({ workload: name }, "its record lags behind its host");
      return { settled };
    },
  };
}

/** Frees the new VM, when there is one. */
export async function freeNewVm({ vms }: Pick<NewVmDeps, "vms">, context: JobContext<ReceivingInput>): Promise<void> {
  const { newVm } = context.input;
  if (newVm !== undefined) await freeVm(vms, context, newVm.name);
}

function wantedVm({ input }: JobContext<ReceivingInput>): WantedVm {
  if (input.newVm === undefined) throw new StillpointError("INTERNAL", "there is no VM to make");
  return input.newVm;
}
