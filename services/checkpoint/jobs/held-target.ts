import type { Vm } from "#contracts/vm/v1/vm";
import type { JobContext } from "#libs/operations";
import type { RecordEvent, RecordStore } from "#libs/records";
import type { CheckpointStore } from "../records/checkpoint-store.ts";
import { releaseVm } from "./held-vm.ts";

interface TargetDeps {
  readonly vms: RecordStore<Vm>;
  readonly store: CheckpointStore;
}

/** Frees the operation's target, a checkpoint or a VM, and tells what happened; leaves it alone when it is not held. */
export async function releaseTarget(
  { vms, store }: TargetDeps,
  context: JobContext,
  events: readonly RecordEvent[] = [],
): Promise<void> {
  const { target, operationId } = context;
  if (!target.includes("/checkpoints/")) return await releaseVm(vms, context, events);
  await store.records.modify(target, ({ operation }) =>
    operation === operationId ? { operation: null, events } : undefined,
  );
}
