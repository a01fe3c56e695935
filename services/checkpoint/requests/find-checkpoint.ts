import { Checkpoint } from "#contracts/checkpoint/v1/checkpoint";
import { type Vm, VmState } from "#contracts/vm/v1/vm";
import { operationName, parseCheckpointName, parseWorkloadName } from "#libs/names";
import type { RecordStore, StoredRecord } from "#libs/records";
import type { CheckpointStore, StoredTree } from "../records/checkpoint-store.ts";
import { noCheckpoint, noWorkload, wrongState } from "./refusals.ts";

export interface FindDeps {
  readonly vms: RecordStore<Vm>;
  readonly store: CheckpointStore;
}

/** The VM or container of that name; NAME_INVALID, VM_NOT_FOUND or CONTAINER_NOT_FOUND. */
export async function findVm({ vms }: FindDeps, name: string): Promise<StoredRecord<Vm>> {
  parseWorkloadName(name);
  const vm = await vms.get(name);
  if (vm === undefined) throw noWorkload(name);
  return vm;
}

export interface Found {
  readonly vm: StoredRecord<Vm>;
  readonly tree: StoredTree;
  readonly checkpoint: StoredRecord<Checkpoint>;
}

/** A checkpoint by its id or display name. Those of an older VM of the same name are not there. */
export async function findCheckpoint(deps: FindDeps, name: string): Promise<Found> {
  const { workload, checkpoint: wanted } = parseCheckpointName(name);
  const vm = await findVm(deps, workload);
  const tree = await deps.store.tree({ name: workload, uid: vm.uid });
  const checkpoint =
    tree.checkpoints.find(({ uid }) => uid === wanted) ??
    tree.checkpoints.find(({ body }) => body.displayName === wanted);
  if (checkpoint === undefined) throw noCheckpoint(name);
  return { vm, tree, checkpoint };
}

const settled: readonly VmState[] = [VmState.RUNNING, VmState.PAUSED, VmState.STOPPED, VmState.CRASHED];

/** Refuses a VM that is still being made, is going, or failed. */
export function checkSettled({ name, body }: StoredRecord<Vm>): void {
  if (!settled.includes(body.state)) throw wrongState(name, body.state);
}

/** A stored checkpoint as the API shows it. */
export function toApi({ body, operation, version, time }: StoredRecord<Checkpoint>): Checkpoint {
  const held = operation === undefined ? "" : operationName(operation);
  return Checkpoint.fromPartial({ ...body, operation: held, version, updateTime: time });
}
