import { VmState } from "#contracts/vm/v1/vm";
import type { Job, JobContext, Outcome, Step } from "#libs/operations";
import { foldWorkload, vmEvent } from "../vm-record.ts";
import { askHost, failedEvent, freeVm, heldVm, type VmInput } from "./held-vm.ts";
import type { VmJobDeps } from "./job-deps.ts";

export interface DeleteInput extends VmInput {
  /** Its state before; it is in that again when the host could not be asked to do anything. */
  readonly before: VmState;
}

/** Removes a VM: its files and checkpoints on the host, its capacity, and at last its record. */
export function deleteJob(deps: VmJobDeps): Job<DeleteInput> {
  return {
    kind: "vm.delete",
    steps: [destroyStep(deps), releaseStep(deps)],
    conclude: (context, outcome) => conclude(deps, context, outcome),
  };
}

function destroyStep({ vms, agents }: VmJobDeps): Step<DeleteInput> {
  return {
    name: "destroy",
    async run(context) {
      const { host, uid } = (await heldVm(vms, context)).body;
      // A VM whose creation never got as far as a host.
      if (host === "") return undefined;
      await agents.runStep(context, { host, uid }, "destroy", { $case: "deleteVm", value: {} });
      return undefined;
    },
  };
}

function releaseStep({ scheduler }: VmJobDeps): Step<DeleteInput> {
  return {
    name: "release",
    async run({ input }) {
      await scheduler.release({ uid: input.uid });
      return undefined;
    },
  };
}

async function conclude({ vms, agents }: VmJobDeps, context: JobContext<DeleteInput>, outcome: Outcome) {
  await freeVm(vms, context, async (vm) => {
    if (outcome.succeeded) return { gone: [vmEvent("deleted", vm, { host: vm.host })] };
    const failed = failedEvent("vm.delete", vm, outcome);
    const answer = await askHost(agents, vm);
    if (answer === "unknown") return { vm: { ...vm, state: context.input.before }, events: [failed] };
    if (answer !== undefined) return { vm: foldWorkload(vm, answer).vm, events: [failed] };
    // Its files are gone, but not all of the rest: it can only be deleted again.
    const stateReason = outcome.error.message;
    return { vm: { ...vm, state: VmState.FAILED, stateReason }, events: [failed] };
  });
  return undefined;
}
