import type { Vm } from "#contracts/vm/v1/vm";
import type { Clock } from "#libs/clock";
import type { Logger } from "#libs/logger";
import type { RecordStore, RecordView } from "#libs/records";
import type { CheckpointStore, Workload } from "./checkpoint-store.ts";

export interface DeletedVmsDeps {
  readonly vms: RecordStore<Vm>;
  readonly vmView: Pick<RecordView<Vm>, "watch">;
  readonly store: CheckpointStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

const restartMs = 500;

/**
 * Removes the records of checkpoints whose VM is gone (its host has removed their files with it): first those of VMs
 * that went while nobody looked, then each as it goes. Runs until the signal aborts; any number of replicas may.
 */
export async function followDeletedVms(deps: DeletedVmsDeps): Promise<void> {
  const { clock, logger, signal } = deps;
  while (!signal.aborted) {
    try {
      await follow(deps);
    } catch (error) {
      if (signal.aborted) return;
      logger.warn({ err: error }, "checkpoints of deleted VMs cannot be removed now");
      await clock.sleep(restartMs, signal).catch(() => undefined);
    }
  }
}

async function follow({ vms, vmView, store, signal }: DeletedVmsDeps): Promise<void> {
  for await (const change of vmView.watch({ signal })) {
    if (change.kind === "synced") await sweep(vms, store);
    if (change.kind === "deleted") await store.forget({ name: change.record.name, uid: change.record.uid });
  }
}

async function sweep(vms: RecordStore<Vm>, store: CheckpointStore): Promise<void> {
  for (const workload of await store.workloads()) {
    if (await isGone(vms, workload)) await store.forget(workload);
  }
}

async function isGone(vms: RecordStore<Vm>, { name, uid }: Workload): Promise<boolean> {
  const vm = await vms.get(name);
  return vm?.uid !== uid;
}
