import { type Workload, WorkloadState } from "#contracts/host/v1/agent";
import { type GuestAgent, type Vm, VmState } from "#contracts/vm/v1/vm";
import { type Folded, isUnrecovered, workloadEvent } from "#libs/workloads";
import { happened, hasGuest } from "./domain/vm-state.ts";

/** Something that happened to a VM. */
export const vmEvent = workloadEvent.bind(undefined, { word: "vm" });

const states: Readonly<Partial<Record<WorkloadState, VmState>>> = {
  [WorkloadState.STOPPED]: VmState.STOPPED,
  [WorkloadState.RUNNING]: VmState.RUNNING,
  [WorkloadState.PAUSED]: VmState.PAUSED,
  [WorkloadState.CRASHED]: VmState.CRASHED,
};

/** The VM's state behind a workload's. */
const vmStateOf = (state: WorkloadState): VmState | undefined => states[state];

const noAgent = { connected: false, version: "" };

/** The VM with what its host says of it. `reason`: why it is so, for people. */
export function foldWorkload(vm: Vm, workload: Workload, reason = ""): Folded<Vm> {
  const state = vmStateOf(workload.state) ?? vm.state;
  const folded: Vm = {
    ...vm,
    state,
    stateReason: stateReasonOf(vm, state, reason),
    machineType: workload.machineType === "" ? vm.machineType : workload.machineType,
    startTime: workload.startTime ?? vm.startTime,
  };
  const event = happened(vm.state, state);
  const changes = event === undefined ? [] : [vmEvent(event, vm, { host: vm.host, reason })];
  if (!hasGuest(state)) return { body: { ...folded, guestAgent: noAgent }, events: changes };
  const guest = foldGuestAgent(folded, workload.guestAgent ?? vm.guestAgent ?? noAgent);
  return { body: guest.body, events: [...changes, ...guest.events] };
}

/** One that runs is as it was asked to be: why it does so again is for the event. */
function stateReasonOf(vm: Vm, state: VmState, reason: string): string {
  if (state === VmState.RUNNING) return "";
  // It ended with its host, which is back: it is still to be started there.
  return state === VmState.CRASHED && isUnrecovered(vm) ? vm.stateReason : reason;
}

/** The VM with what is known of its guest's agent. */
export function foldGuestAgent(vm: Vm, guestAgent: GuestAgent): Folded<Vm> {
  const before = vm.guestAgent?.connected ?? false;
  const folded = { ...vm, guestAgent };
  if (before === guestAgent.connected) return { body: folded, events: [] };
  const happened = guestAgent.connected ? "agent_connected" : "agent_disconnected";
  return { body: folded, events: [vmEvent(happened, vm, { version: guestAgent.version })] };
}
