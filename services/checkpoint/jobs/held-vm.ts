import type { Vm } from "#contracts/vm/v1/vm";
import type { JobContext } from "#libs/operations";
import type { RecordEvent, RecordStore } from "#libs/records";
import { noWorkload } from "../requests/refusals.ts";

/** The VM that the operation holds; VM_NOT_FOUND when it is gone or was made again meanwhile. */
export async function heldVm(vms: RecordStore<Vm>, context: JobContext<{ readonly workloadUid: string }>): Promise<Vm> {
  const stored = await vms.get(context.target);
  if (stored === undefined || stored.uid !== context.input.workloadUid) {
    throw noWorkload(context.target);
  }
  return stored.body;
}

/** Frees the VM and tells what happened; leaves it alone when another operation holds it. Never touches its body. */
export async function releaseVm(
  vms: RecordStore<Vm>,
  { target, operationId }: JobContext,
  events: readonly RecordEvent[] = [],
): Promise<void> {
  await vms.modify(target, (stored) => (stored.operation === operationId ? { operation: null, events } : undefined));
}
