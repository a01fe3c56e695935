import { Workload } from "#contracts/host/v1/agent";
import type { SchedulerClient } from "#contracts/scheduler/v1/scheduler";
import { isStillpointError } from "#libs/errors";
import type { HostAgents } from "#libs/host-agent";
import type { JobContext, JobOutput, Outcome } from "#libs/operations";
import type { RecordEvent, RecordStore, StoredRecord } from "#libs/records";
import { type Folded, notFound, type WorkloadBody, type WorkloadKind, workloadEvent } from "./kind.ts";

/** What the jobs of a workload's life work with. */
export interface WorkloadJobDeps<Body extends WorkloadBody> {
  readonly kind: WorkloadKind<Body>;
  readonly records: RecordStore<Body>;
  readonly scheduler: Pick<SchedulerClient, "place" | "release">;
  readonly agents: HostAgents;
}

/** Every job of a workload is about one incarnation. */
export interface WorkloadInput {
  readonly uid: string;
}

type HeldContext = Pick<JobContext<WorkloadInput>, "target" | "operationId" | "input">;
type HeldDeps<Body extends WorkloadBody> = Pick<WorkloadJobDeps<Body>, "kind" | "records">;

/** The workload that the operation holds. Fails with its kind's reason when it is gone or was made again meanwhile. */
export async function heldWorkload<Body extends WorkloadBody>(
  { kind, records }: HeldDeps<Body>,
  { target, input }: HeldContext,
): Promise<StoredRecord<Body>> {
  const stored = await records.get(target);
  if (stored?.uid !== input.uid) throw notFound(kind, target);
  return stored;
}

/**
 * Writes the workload's new state and frees it; leaves it alone when this operation does not hold it any more.
 * `decide` is asked again, with what it then finds, when something else was written meanwhile: so a state that it
 * reads from the host is never older than the record that it is written over. It gives "gone" to remove the workload.
 */
export async function freeWorkload<Body extends WorkloadBody>(
  records: RecordStore<Body>,
  { target, operationId }: HeldContext,
  decide: (body: Body) => Promise<Folded<Body> | { readonly gone: readonly RecordEvent[] }>,
): Promise<void> {
  for (;;) {
    const stored = await records.get(target);
    if (stored === undefined || stored.operation !== operationId) return;
    const decided = await decide(stored.body);
    try {
      if ("gone" in decided) await records.remove(stored, decided.gone);
      else await records.update(stored, { body: decided.body, operation: null, events: decided.events });
      return;
    } catch (error) {
      if (!isStillpointError(error, "RECORD_CONFLICT")) throw error;
    }
  }
}

const askWithinMs = 2_000;

/** What the host says of it now: "unknown" when it does not answer, undefined when it has nothing of that uid. */
export async function askHost(
  agents: HostAgents,
  { host, uid }: Pick<WorkloadBody, "host" | "uid">,
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

/** What a step keeps of its answer for `workloadIn`. */
export const outputOf = ({ workload }: { readonly workload?: Workload | undefined }): JobOutput | undefined =>
  workload === undefined ? undefined : { workload: Workload.toJSON(workload) };

/** What a failure is told as, to whoever watches. */
export function failedEvent<Body extends WorkloadBody>(
  kind: WorkloadKind<Body>,
  job: string,
  body: Pick<WorkloadBody, "uid">,
  { error }: Extract<Outcome, { succeeded: false }>,
): RecordEvent {
  return workloadEvent(kind, "failed", body, { kind: job, reason: error.reason, message: error.message });
}
