import { type Workload, WorkloadState } from "#contracts/host/v1/agent";
import { type GuestAgent, type Vm, VmState } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import { operationName } from "#libs/names";
import type { RecordEvent, StoredRecord } from "#libs/records";
import { happened, hasGuest } from "./domain/vm-state.ts";

/** A stored VM as the API shows it. */
export type ShowVm = (stored: StoredRecord<Vm>) => Vm;

/** What the record's body says, and what the record itself knows. */
export function toApi({ body, operation, version, time }: StoredRecord<Vm>): Vm {
  return { ...body, operation: operation === undefined ? "" : operationName(operation), version, updateTime: time };
}

/** Something that happened to a VM. */
export function vmEvent(
  happened: string,
  vm: Pick<Vm, "uid">,
  data: Readonly<Record<string, unknown>> = {},
): RecordEvent {
  return { aggregate: "vm", happened, data: { uid: vm.uid, ...data } };
}

export const vmNotFound = (name: string) => new StillpointError("VM_NOT_FOUND", `there is no VM ${name}`);

const states: Readonly<Partial<Record<WorkloadState, VmState>>> = {
  [WorkloadState.STOPPED]: VmState.STOPPED,
  [WorkloadState.RUNNING]: VmState.RUNNING,
  [WorkloadState.PAUSED]: VmState.PAUSED,
  [WorkloadState.CRASHED]: VmState.CRASHED,
};

/** The VM's state behind a workload's. */
const vmStateOf = (state: WorkloadState): VmState | undefined => states[state];

export interface Folded {
  readonly vm: Vm;
  /** What that means happened; empty when the state is the same. */
  readonly events: readonly RecordEvent[];
}

const noAgent = { connected: false, version: "" };

/** The VM with what its host says of it. `reason`: why it is so, for people. */
export function foldWorkload(vm: Vm, workload: Workload, reason = ""): Folded {
  const state = vmStateOf(workload.state) ?? vm.state;
  const folded: Vm = {
    ...vm,
    state,
    stateReason: reason,
    machineType: workload.machineType === "" ? vm.machineType : workload.machineType,
    startTime: workload.startTime ?? vm.startTime,
  };
  const event = happened(vm.state, state);
  const changes = event === undefined ? [] : [vmEvent(event, vm, { host: vm.host, reason })];
  if (!hasGuest(state)) return { vm: { ...folded, guestAgent: noAgent }, events: changes };
  const guest = foldGuestAgent(folded, workload.guestAgent ?? vm.guestAgent ?? noAgent);
  return { vm: guest.vm, events: [...changes, ...guest.events] };
}

/** The VM with what is known of its guest's agent. */
export function foldGuestAgent(vm: Vm, guestAgent: GuestAgent): Folded {
  const before = vm.guestAgent?.connected ?? false;
  const folded = { ...vm, guestAgent };
  if (before === guestAgent.connected) return { vm: folded, events: [] };
  const happened = guestAgent.connected ? "agent_connected" : "agent_disconnected";
  return { vm: folded, events: [vmEvent(happened, vm, { version: guestAgent.version })] };
}
