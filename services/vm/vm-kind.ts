import { Vm, VmState } from "#contracts/vm/v1/vm";
import { parseVmName } from "#libs/names";
import type { WorkloadKind } from "#libs/workloads";
import { type Action, refusal } from "./domain/vm-state.ts";
import { foldWorkload } from "./vm-record.ts";

/** VMs, to the parts that all workloads share. */
export const vmKind: WorkloadKind<Vm> = {
  word: "vm",
  noun: "VM",
  codec: Vm,
  states: {
    deleting: VmState.DELETING,
    failed: VmState.FAILED,
    running: VmState.RUNNING,
    stopped: VmState.STOPPED,
  },
  reasons: {
    missing: "VM_NOT_FOUND",
    exists: "VM_EXISTS",
    state: "VM_STATE",
    hasCheckpoints: "VM_HAS_CHECKPOINTS",
    hasProtected: "VM_HAS_PROTECTED",
  },
  projectOf: (name) => parseVmName(name).project,
  refusal: (action, state, force) => refusal(action as Action, state, force),
  isFollowed: false,
  fold: foldWorkload,
};
