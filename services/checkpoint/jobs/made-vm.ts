import type { Operation } from "#contracts/operation/v1/operation";
import type { Vm } from "#contracts/vm/v1/vm";
import { errorTable, isStillpointError, type Reason, StillpointError } from "#libs/errors";
import { parseOperationName } from "#libs/names";
import type { JobContext, Operations } from "#libs/operations";
import type { Json, RecordStore } from "#libs/records";
import { workloadCodec } from "../records/workload-record.ts";
import { serviceOf, type WorkloadServices } from "./workload-services.ts";

/** A VM or container that a job has its service make, as the job's input keeps it: equal however often it is asked for. */
export interface WantedVm {
  readonly name: string;
  /** ProtoJSON of the request that creates it, without its request id. */
  readonly request: Json;
}

/** What is known of it once it is made. */
export interface MadeVm {
  readonly uid: string;
  /** hosts/<host> */
  readonly host: string;
}

export interface MadeVmDeps extends WorkloadServices {
  readonly vms: RecordStore<Vm>;
  readonly operations: Pick<Operations, "holdAlso" | "watch" | "get" | "cancel">;
}

type Context = Pick<JobContext, "operationId" | "signal">;

/** Asks for the VM and waits until it is made, off. Safe to repeat. Fails as its creation does. */
export async function makeVm(deps: MadeVmDeps, context: Context, wanted: WantedVm): Promise<MadeVm> {
  const { output, error } = await endOf(deps, (await askForVm(deps, context, wanted)).name, context.signal);
  if (error !== undefined) throw errorOf(error);
  return { uid: String(output?.uid), host: String(output?.host) };
}

/**
 * Removes what `makeVm` made or may have made in part: a creation under way is cancelled. Safe to repeat. To know
 * whether there is one it is asked for again, which answers with the first request's operation, or its refusal.
 */
export async function unmakeVm(deps: MadeVmDeps, context: Context, wanted: WantedVm): Promise<void> {
  const asked = await askForVm(deps, context, wanted).catch(unlessRefused);
  if (asked === undefined) return;
  if (!asked.done) await deps.operations.cancel(parseOperationName(asked.name));
  const { error, output } = await endOf(deps, asked.name, context.signal);
  if (error === undefined) await removeVm(deps, context, { name: wanted.name, uid: String(output?.uid) });
}

/** Holds the VM for the job. The steps after this one act on it under an epoch newer than its creation's. */
export async function holdVm(
  { operations }: MadeVmDeps,
  { operationId }: Context,
  name: string,
  uid: string,
): Promise<void> {
  await operations.holdAlso<Vm>(operationId, name, { codec: workloadCodec, uid, missingReason: "VM_NOT_FOUND" });
}

/** Frees the VM when the job holds it. */
export async function freeVm(vms: RecordStore<Vm>, { operationId }: Pick<Context, "operationId">, name: string) {
  await vms.modify(name, ({ operation }) => (operation === operationId ? { operation: null } : undefined));
}

/** Deletes that incarnation with all it has, also while somebody else is about to use it; one that is gone is fine. */
export async function removeVm(
  deps: MadeVmDeps,
  context: Context,
  { name, uid }: { readonly name: string; readonly uid: string },
): Promise<void> {
  const { vms } = deps;
  while ((await isThere(vms, name, uid)) && !context.signal.aborted) {
    await freeVm(vms, context, name);
    const holder = await tryRemove(deps, context, name);
    if (holder !== undefined) await endOf(deps, holder, context.signal);
  }
  context.signal.throwIfAborted();
}

/** Gives the operation that is in the way; undefined when the VM is gone. */
async function tryRemove(deps: MadeVmDeps, { signal }: Context, name: string): Promise<string | undefined> {
  try {
    const { error } = await endOf(deps, await askForRemoval(deps, name), signal);
    if (error !== undefined) throw errorOf(error);
    return undefined;
  } catch (error) {
    if (isGone(error)) return undefined;
    if (!isStillpointError(error, "TARGET_BUSY")) throw error;
    return error.metadata.operation;
  }
}

async function askForRemoval(deps: MadeVmDeps, name: string): Promise<string> {
  return (await serviceOf(deps, name).remove()).name;
}

const isGone = (error: unknown): boolean =>
  isStillpointError(error, "VM_NOT_FOUND") || isStillpointError(error, "CONTAINER_NOT_FOUND");

async function isThere(vms: RecordStore<Vm>, name: string, uid: string): Promise<boolean> {
  return (await vms.get(name))?.uid === uid;
}

async function askForVm(deps: MadeVmDeps, { operationId, signal }: Context, { name, request }: WantedVm) {
  return await serviceOf(deps, name).create(request, `${operationId}.vm`, signal);
}

/** Undefined for a request that can never have made anything. */
function unlessRefused(error: unknown): undefined {
  if (isStillpointError(error) && error.reason !== "UNAVAILABLE" && error.reason !== "DEADLINE_EXCEEDED") return;
  throw error;
}

async function endOf({ operations }: MadeVmDeps, name: string, signal: AbortSignal): Promise<Operation> {
  let last: Operation | undefined;
  for await (const operation of operations.watch(parseOperationName(name), signal)) last = operation;
  signal.throwIfAborted();
  if (last?.done === true) return last;
  throw new StillpointError("OUTCOME_UNKNOWN", `${name} was watched and did not end`);
}

function errorOf({ reason, message, help }: NonNullable<Operation["error"]>): StillpointError {
  const known = reason in errorTable ? (reason as Reason) : "INTERNAL";
  return new StillpointError(known, message, { help });
}
