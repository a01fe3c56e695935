import { CreateCheckpointRequest, DeleteCheckpointRequest } from "#contracts/checkpoint/v1/checkpoint";
import type { Operation } from "#contracts/operation/v1/operation";
import type { CheckpointType } from "#contracts/vm/v1/vm";
import { authorise, type Principal } from "#libs/auth";
import { isStillpointError, type Reason } from "#libs/errors";
import { isRecoveryName } from "#libs/names";
import type { CallScope } from "#libs/rpc";
import type { CloneDeps } from "../copies/clone.ts";
import type { Workload } from "../records/checkpoint-store.ts";
import type { AcceptDeps } from "../requests/accept.ts";
import { acceptDelete } from "../requests/accept-change.ts";
import { acceptCreate } from "../requests/accept-create.ts";
import { schedulePrincipal } from "./accept-run.ts";
import { type ChildDeps, runChild } from "./child-operations.ts";
import type { Acted, Failure } from "./run-state.ts";

export type ActDeps = AcceptDeps & CloneDeps & ChildDeps;

export interface Act {
  /** Resource name; `<workload>/recovery` for recovery points. */
  readonly schedule: string;
  readonly vm: Workload;
  /** Of this run and VM: request ids are made from it. */
  readonly key: string;
  readonly signal: AbortSignal;
}

export interface TakeOptions extends Act {
  readonly checkpointType: CheckpointType;
  readonly excludeDisks: readonly string[];
}

/** Takes a checkpoint as CreateCheckpoint does. A failure is told, unless the run itself cannot go on now. */
export async function takeCheckpoint(deps: ActDeps, options: TakeOptions): Promise<Acted> {
  const { schedule, vm, key, checkpointType: type, excludeDisks, signal } = options;
  const ask = (requestId: string) => {
    const call = callOf(schedule, { requestId, signal });
    const fields = { parent: vm.name, type, excludeDisks: [...excludeDisks], schedule, requestId };
    authorise(call.principal, "create", vm.name);
    return acceptCreate(deps, CreateCheckpointRequest.fromPartial(fields), call);
  };
  const outcome = await attempt(signal, () => runChild(deps, { key: `${key} take`, ask, signal }));
  if (outcome.failure !== undefined) return { vm: vm.name, failures: [{ action: "take", ...outcome.failure }] };
  return { vm: vm.name, checkpoint: String(outcome.output.name), failures: [] };
}

/** Deletes as DeleteCheckpoint does, one after the other. One that is gone already counts as deleted. */
export async function deleteExpired(
  deps: ActDeps,
  { schedule, vm, key, checkpoints, signal }: Act & { readonly checkpoints: readonly string[] },
): Promise<Acted> {
  const deleted: string[] = [];
  const failures: Failure[] = [];
  for (const name of checkpoints) {
    const ask = (requestId: string) => {
      const call = callOf(schedule, { requestId, signal });
      authorise(call.principal, "delete", name);
      return acceptDelete(deps, DeleteCheckpointRequest.fromPartial({ name, requestId }), call);
    };
    const { failure } = await attempt(signal, () => runChild(deps, { key: `${key} delete ${name}`, ask, signal }));
    if (failure === undefined || failure.reason === "CHECKPOINT_NOT_FOUND") deleted.push(name);
    else failures.push({ action: "delete", checkpoint: name, ...failure });
  }
  return { vm: vm.name, deleted, failures };
}

/** What came of an operation: its output, or why it failed. */
export type Attempt =
  | { readonly output: Readonly<Record<string, unknown>>; readonly failure?: undefined }
  | { readonly failure: Pick<Failure, "reason" | "message"> };

/** Nothing is known then of what came of it: the step is to be run again, and finds out. */
const undecided: readonly Reason[] = ["UNAVAILABLE", "OUTCOME_UNKNOWN", "RECORD_CONFLICT"];

/** What came of an operation on a VM; a failure is told, unless nothing is known of it yet. */
export async function attempt(signal: AbortSignal, work: () => Promise<Operation>): Promise<Attempt> {
  try {
    const { name, state, error, output = {} } = await work();
    if (state === "OPERATION_STATE_SUCCEEDED") return { output };
    return { failure: { reason: error?.reason ?? "INTERNAL", message: error?.message ?? `${name} did not succeed` } };
  } catch (error) {
    signal.throwIfAborted();
    if (!isStillpointError(error) || undecided.includes(error.reason)) throw error;
    return { failure: { reason: error.reason, message: error.message } };
  }
}

/** The call by which a schedule, or what keeps recovery points, asks for something. */
export const callOf = (schedule: string, call: Pick<CallScope, "requestId" | "signal">): CallScope => ({
  principal: isRecoveryName(schedule) ? recoveryPrincipal : schedulePrincipal(schedule),
  callId: call.requestId,
  previousAttempts: 0,
  ...call,
});

export const recoveryPrincipal: Principal = { name: "recovery", kind: "service" };
