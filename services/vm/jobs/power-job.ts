import { Workload } from "#contracts/host/v1/agent";
import type { Vm } from "#contracts/vm/v1/vm";
import type { AgentAction } from "#libs/host-agent";
import type { Job, JobContext, Outcome } from "#libs/operations";
import { foldWorkload, vmEvent } from "../vm-record.ts";
import { askHost, failedEvent, freeVm, heldVm, type NewState, type VmInput, workloadIn } from "./held-vm.ts";
import type { VmJobDeps } from "./job-deps.ts";

export interface PowerJob<Input extends VmInput> {
  readonly kind: string;
  /** Name of its one step. */
  readonly step: string;
  readonly action: (input: Input) => AgentAction;
  /** Told when it succeeded, where a change of state does not tell. */
  readonly happened?: string;
}

/**
 * A job of one step on the VM's host, after which the VM is as its host says. There is nothing to undo: a step that
 * failed has left the VM as it was, and one that is done is what was asked for.
 */
export function powerJob<Input extends VmInput>(deps: VmJobDeps, power: PowerJob<Input>): Job<Input> {
  const { vms, agents } = deps;
  return {
    kind: power.kind,
    steps: [
      {
        name: power.step,
        async run(context) {
          const { host, uid } = (await heldVm(vms, context)).body;
          const { workload } = await agents.runStep(context, { host, uid }, power.step, power.action(context.input));
          return workload === undefined ? undefined : { workload: Workload.toJSON(workload) };
        },
      },
    ],
    async conclude(context, outcome) {
      await freeVm(vms, context, (vm) => newState(deps, power, { context, outcome, vm }));
      return undefined;
    },
  };
}

interface Ended<Input> {
  readonly context: JobContext<Input>;
  readonly outcome: Outcome;
  readonly vm: Vm;
}

async function newState<Input extends VmInput>(
  { agents }: VmJobDeps,
  { kind, step, happened }: PowerJob<Input>,
  { context, outcome, vm }: Ended<Input>,
): Promise<NewState> {
  const answer = await askHost(agents, vm);
  const workload = answer === "unknown" ? workloadIn(context.outputs[step]) : answer;
  const folded = workload === undefined ? { vm, events: [] } : foldWorkload(vm, workload);
  if (!outcome.succeeded) return { vm: folded.vm, events: [...folded.events, failedEvent(kind, vm, outcome)] };
  const told = happened === undefined ? [] : [vmEvent(happened, vm, { host: vm.host })];
  return { vm: folded.vm, events: [...folded.events, ...told] };
}
