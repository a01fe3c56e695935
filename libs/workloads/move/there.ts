import { isStillpointError, type Reason } from "#libs/errors";
import type { AgentAction } from "#libs/host-agent";
import type { JobContext, JobOutput } from "#libs/operations";
import { heldWorkload, outputOf, type WorkloadInput, type WorkloadJobDeps } from "../held-workload.ts";
import type { WorkloadBody } from "../kind.ts";
import { runOnHost } from "../run-on-host.ts";
import { type Moving, uuidOf } from "./move-state.ts";

/** The host that a workload comes to, and the checkpoint in the registry that it comes from. */
export interface There {
  /** hosts/<host> */
  readonly host: string;
  /** <repository>@sha256:...; empty for one that is made of its image anew. */
  readonly reference: string;
}

interface ThereDeps<Body extends WorkloadBody> extends WorkloadJobDeps<Body> {
  readonly moving: Moving<Body>;
}

type Context = JobContext<WorkloadInput>;

/** What is received is known on that host by a uid that no other operation has, until `forgetThere`. */
export const parcelUid = ({ operationId }: Pick<Context, "operationId">): string => `ckpt-${uuidOf(operationId)}`;

/**
 * What it is, and its secrets; its image comes with its files. What the host has of it already is what was left when it
 * was recovered from there: its record names another host, so that nobody runs that any more, and it makes room.
 */
export async function makeThere<Body extends WorkloadBody>(
  deps: ThereDeps<Body>,
  context: Context,
  { host, reference }: There,
): Promise<void> {
  const { agents, moving } = deps;
  const { uid } = context.input;
  const { body } = await heldWorkload(deps, context);
  await agents.runStep(context, { host, uid }, "clear", moving.destroy);
  const anew = reference === "" ? moving.anew?.(body) : undefined;
  await agents.runStep(context, { host, uid }, "make", anew ?? moving.make(body, reference));
}

export async function unmakeThere<Body extends WorkloadBody>(
  { agents, moving }: ThereDeps<Body>,
  context: Context,
  host: string,
): Promise<void> {
  await agents.runStep(context, { host, uid: context.input.uid }, "unmake", moving.destroy);
}

/** Taken back by `unmakeThere`. */
export async function receiveThere<Body extends WorkloadBody>(
  { agents }: ThereDeps<Body>,
  context: Context,
  { host, reference }: There,
): Promise<void> {
  const source = { $case: "reference", value: reference } as const;
  const value = { checkpointUid: parcelUid(context), parentCheckpointUid: "", source };
  const action: AgentAction = { $case: "receiveCheckpoint", value };
  await agents.runStep(context, { host, uid: context.input.uid }, "receive", action);
}

/** Taken back by `unmakeThere`. Leaves it off. */
export async function applyThere<Body extends WorkloadBody>(
  { agents }: ThereDeps<Body>,
  context: Context,
  host: string,
): Promise<JobOutput | undefined> {
  const value = { checkpointUid: parcelUid(context), generationId: uuidOf(context.operationId), leaveOff: true };
  const action: AgentAction = { $case: "applyCheckpoint", value };
  return outputOf(await agents.runStep(context, { host, uid: context.input.uid }, "apply", action));
}

/** Forgets what it was made of, which no record names. */
export async function forgetThere<Body extends WorkloadBody>(
  { agents }: ThereDeps<Body>,
  context: Context,
  host: string,
): Promise<JobOutput | undefined> {
  const action: AgentAction = { $case: "removeCheckpoints", value: { checkpointUids: [parcelUid(context)] } };
  return outputOf(await agents.runStep(context, { host, uid: context.input.uid }, "remove-parcel", action));
}

/** Failures that tell nothing of the workload. */
const passing: ReadonlySet<Reason> = new Set([
  ...(["UNAVAILABLE", "OUTCOME_UNKNOWN", "HOST_UNREACHABLE", "HOST_NOT_FOUND"] as const),
  ...(["ENGINE_UNAVAILABLE", "DEADLINE_EXCEEDED", "EPOCH_STALE", "OPERATION_CANCELLED"] as const),
  "START_UNCONFIRMED" as const,
]);

/** What it has left there; or why it does not run: that is no reason to stay half-way. */
export async function startThere<Body extends WorkloadBody>(
  { agents, moving }: ThereDeps<Body>,
  context: Context,
  host: string,
): Promise<JobOutput & { readonly failure?: string }> {
  try {
    const at = { host, uid: context.input.uid };
    return outputOf(await runOnHost(agents, context, { at, step: "start", action: moving.start })) ?? {};
  } catch (error) {
    if (context.signal.aborted || !isStillpointError(error) || passing.has(error.reason)) throw error;
    return { failure: `${error.reason}: ${error.message}` };
  }
}
