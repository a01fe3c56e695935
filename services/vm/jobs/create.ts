import { VmDefinition, Workload } from "#contracts/host/v1/agent";
import { type Vm, VmState } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import { operationName } from "#libs/names";
import type { Job, JobContext, Outcome, Step } from "#libs/operations";
import { requirementsOf } from "../domain/build-plan.ts";
import { foldWorkload, vmEvent } from "../vm-record.ts";
import { askHost, failedEvent, freeVm, heldVm, type NewState, type VmInput, workloadIn } from "./held-vm.ts";
import type { VmJobDeps } from "./job-deps.ts";

export interface CreateInput extends VmInput {
  readonly start: boolean;
}

/** Makes a VM. When that fails nothing is left of it: no files, no reservation, no record. */
export function createJob(deps: VmJobDeps): Job<CreateInput> {
  return {
    kind: "vm.create",
    steps: [placeStep(deps), makeStep(deps), startStep(deps)],
    conclude: (context, outcome) => conclude(deps, context, outcome),
  };
}

/** Finds a host and holds capacity on it. */
function placeStep({ vms, scheduler }: VmJobDeps): Step<CreateInput> {
  return {
    name: "place",
    async run(context) {
      const { uid, body } = await heldVm(vms, context);
      const { host } = await scheduler.place({
        workload: context.target,
        uid,
        operation: operationName(context.operationId),
        requirements: requirementsOf(specOf(body)),
      });
      return { host };
    },
    async undo({ input }) {
      await scheduler.release({ uid: input.uid });
    },
  };
}

/** Pulls the image and makes the disks, on that host. */
function makeStep({ vms, agents }: VmJobDeps): Step<CreateInput> {
  return {
    name: "make",
    async run(context) {
      const definition = definitionOf((await heldVm(vms, context)).body);
      const { workload } = await agents.runStep(context, placed(context), "make", {
        $case: "createVm",
        value: { definition },
      });
      return workload === undefined ? undefined : { workload: Workload.toJSON(workload) };
    },
    async undo(context) {
      await agents.runStep(context, placed(context), "unmake", { $case: "deleteVm", value: {} });
    },
  };
}

/** What it does is taken back by the undo of `make`, which ends QEMU first. */
function startStep({ agents }: VmJobDeps): Step<CreateInput> {
  return {
    name: "start",
    skip: ({ input }) => !input.start,
    async run(context) {
      const { workload } = await agents.runStep(context, placed(context), "start", { $case: "startVm", value: {} });
      return workload === undefined ? undefined : { workload: Workload.toJSON(workload) };
    },
  };
}

async function conclude(deps: VmJobDeps, context: JobContext<CreateInput>, outcome: Outcome) {
  const host = hostOf(context);
  await freeVm(deps.vms, context, async (vm) => {
    if (outcome.succeeded) return made(deps, context, { ...vm, host });
    const failed = failedEvent("vm.create", vm, outcome);
    if (outcome.error.reason !== "UNDO_FAILED") return { gone: [failed] };
    // Something of it is still there: the record stays, so that it can be seen and deleted.
    const { message } = outcome.error;
    return { vm: { ...vm, host, state: VmState.FAILED, stateReason: message }, events: [failed] };
  });
  return outcome.succeeded ? { name: context.target, uid: context.input.uid, host } : undefined;
}

async function made({ agents }: VmJobDeps, context: JobContext<CreateInput>, vm: Vm): Promise<NewState> {
  const answer = await askHost(agents, vm);
  const { start, make } = context.outputs;
  const left = workloadIn(start ?? make);
  const folded = foldWorkload(vm, answer === undefined || answer === "unknown" ? left : answer);
  return {
    vm: folded.vm,
    events: [vmEvent("created", vm, { host: vm.host, image: vm.imageDigest }), ...folded.events],
  };
}

/** Empty before it was placed. */
function hostOf({ outputs }: JobContext<CreateInput>): string {
  const host = outputs.place?.host;
  return typeof host === "string" ? host : "";
}

const placed = (context: JobContext<CreateInput>) => ({ host: hostOf(context), uid: context.input.uid });

function specOf({ name, spec }: Vm): NonNullable<Vm["spec"]> {
  if (spec === undefined) throw new StillpointError("INTERNAL", `the record of ${name} has no spec`);
  return spec;
}

function definitionOf(vm: Vm): VmDefinition {
  const { cpus, memoryBytes, rootSizeBytes, disks, ports, userData, kernelArgs, isolated } = specOf(vm);
  return VmDefinition.fromPartial({
    name: vm.name,
    uid: vm.uid,
    cpus,
    memoryBytes,
    image: vm.imageDigest,
    disks: [{ id: "root", sizeBytes: rootSizeBytes, excludeFromCheckpoints: false }, ...disks],
    ports,
    userData,
    kernelArgs,
    isolated,
  });
}
