import { Workload } from "#contracts/host/v1/agent";
import type { SchedulerClient } from "#contracts/scheduler/v1/scheduler";
import { isStillpointError, StillpointError } from "#libs/errors";
import type { HostAgents } from "#libs/host-agent";
import type { JobContext, JobOutput, Outcome } from "#libs/operations";
import type { RecordEvent, RecordStore, RecordView, StoredRecord } from "#libs/records";
import { type Folded, notFound, type WorkloadBody, type WorkloadKind, workloadEvent } from "./kind.ts";

/** What the jobs of a workload's life work with. */
export interface WorkloadJobDeps<Body extends WorkloadBody> {
  readonly kind: WorkloadKind<Body>;
  readonly records: RecordStore<Body>;
  /** What is known of them without asking; all is asked for when left out. */
  readonly view?: Pick<RecordView<Body>, "get">;
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
 * The same for what is decided by the workload as it stands: a worker that has not heard yet that another one has brought
 * the operation to its end would decide by what that has made of it. Fails with EPOCH_STALE then.
 */
export async function ownWorkload<Body extends WorkloadBody>(
  deps: HeldDeps<Body>,
  context: HeldContext,
): Promise<StoredRecord<Body>> {
  const stored = await heldWorkload(deps, context);
  requireHeld(stored, context);
  return stored;
}

/** @throws StillpointError EPOCH_STALE when the operation does not hold the workload any more */
export function requireHeld(
  { operation }: { readonly operation?: string | undefined },
  { target, operationId }: Pick<HeldContext, "target" | "operationId">,
): void {
  if (operation === operationId) return;
  throw new StillpointError("EPOCH_STALE", `${target} is not held by operation ${operationId} any more`);
}

/**
 * The same for an operation that has not changed the workload itself: as the view has it, where that has come to know
 * that the operation holds it. What else changes meanwhile is what its host saw.
 */
export async function acceptedWorkload<Body extends WorkloadBody>(
  deps: HeldDeps<Body> & Pick<WorkloadJobDeps<Body>, "view">,
  context: HeldContext,
): Promise<StoredRecord<Body>> {
  const known = seenAsHeld(deps, context);
  return known?.uid === context.input.uid ? known : await heldWorkload(deps, context);
}

/** As the view has it, if it is held there. */
function seenAsHeld<Body extends WorkloadBody>(
  { view }: Pick<WorkloadJobDeps<Body>, "view">,
  { target, operationId }: Pick<HeldContext, "target" | "operationId">,
): StoredRecord<Body> | undefined {
  const known = view?.get(target);
  return known?.operation === operationId ? known : undefined;
}

/**
 * Writes the workload's new state and frees it; leaves it alone when this operation does not hold it any more.
 * `decide` is asked again, with what it then finds, when something else was written meanwhile: so a state that it
 * reads from the host is never older than the record that it is written over. It gives "gone" to remove the workload.
 */
export async function freeWorkload<Body extends WorkloadBody>(
  deps: Pick<WorkloadJobDeps<Body>, "records" | "view">,
  context: HeldContext,
  decide: (body: Body) => Promise<Folded<Body> | { readonly gone: readonly RecordEvent[] }>,
): Promise<void> {
  const { records } = deps;
  const { target, operationId } = context;
  // The view may be late: then the write is refused, and the leader asked.
  let stored = seenAsHeld(deps, context) ?? (await records.get(target));
  while (stored !== undefined && stored.operation === operationId) {
    const decided = await decide(stored.body);
    try {
      if ("gone" in decided) await records.remove(stored, decided.gone);
      else await records.update(stored, { body: decided.body, operation: null, events: decided.events });
      return;
    } catch (error) {
      if (!isStillpointError(error, "RECORD_CONFLICT")) throw error;
    }
    stored = await records.get(target);
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
