import { Workload } from "#contracts/host/v1/agent";
import type { Vm } from "#contracts/vm/v1/vm";
import { isStillpointError } from "#libs/errors";
import type { HostAgents } from "#libs/host-agent";
import type { JobContext, JobOutput, Outcome } from "#libs/operations";
import type { RecordEvent, RecordStore, StoredRecord } from "#libs/records";
import { vmEvent, vmNotFound } from "../vm-record.ts";

/** Every job of a VM is about one incarnation. */
export interface VmInput {
  readonly uid: string;
}

type HeldContext = Pick<JobContext<VmInput>, "target" | "operationId" | "input">;

/** The VM that the operation holds. Fails with VM_NOT_FOUND when it is gone or was made again meanwhile. */
export async function heldVm(vms: RecordStore<Vm>, context: HeldContext): Promise<StoredRecord<Vm>> {
  const stored = await vms.get(context.target);
  if (stored?.uid !== context.input.uid) throw vmNotFound(context.target);
  return stored;
}

export interface NewState {
  readonly vm: Vm;
  readonly events: readonly RecordEvent[];
}

/**
 * Writes the VM's new state and frees it; leaves it alone when this operation does not hold it any more.
 * `decide` is asked again, with what it then finds, when something else was written meanwhile: so a state that it
 * reads from the host is never older than the record that it is written over. It gives "gone" to remove the VM.
 */
export async function freeVm(
  vms: RecordStore<Vm>,
  { target, operationId }: HeldContext,
  decide: (vm: Vm) => Promise<NewState | { readonly gone: readonly RecordEvent[] }>,
): Promise<void> {
  for (;;) {
    const stored = await vms.get(target);
    if (stored === undefined || stored.operation !== operationId) return;
    const decided = await decide(stored.body);
    try {
      if ("gone" in decided) await vms.remove(stored, decided.gone);
      else await vms.update(stored, { body: decided.vm, operation: null, events: decided.events });
      return;
    } catch (error) {
      if (!isStillpointError(error, "RECORD_CONFLICT")) throw error;
    }
  }
}

const askWithinMs = 2_000;

/** What the VM's host says of it now: "unknown" when it does not answer, undefined when it has nothing of that uid. */
export async function askHost(
  agents: HostAgents,
  { host, uid }: Pick<Vm, "host" | "uid">,
): Promise<Workload | "unknown" | undefined> {
  try {
    return await agents.getWorkload({ host, uid }, AbortSignal.timeout(askWithinMs));
  } catch {
    return "unknown";
  }
}

/** A workload as a step left it, for when its host cannot be asked; it may not know the guest's agent of today. */
export function workloadIn(output: JobOutput | undefined): Workload {
  return { ...Workload.fromJSON(output?.workload ?? {}), guestAgent: undefined };
}

/** What a failure is told as, to whoever watches. */
export function failedEvent(kind: string, vm: Pick<Vm, "uid">, { error }: Extract<Outcome, { succeeded: false }>) {
  return vmEvent("failed", vm, { kind, reason: error.reason, message: error.message });
}
