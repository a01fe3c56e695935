import { type DeleteVmRequest, Vm, VmState } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import { parseVmName } from "#libs/names";
import type { Operations } from "#libs/operations";
import type { Json, RecordStore, StoredRecord } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import { type Action, refusal } from "./domain/vm-state.ts";
import { vmEvent, vmNotFound } from "./vm-record.ts";

export interface AcceptDeps {
  readonly vms: RecordStore<Vm>;
  readonly operations: Pick<Operations, "accept" | "repeated">;
  /** How many checkpoints a VM has, and how many of them are protected, from the leader. */
  readonly countCheckpoints: (vm: string) => Promise<CheckpointCount>;
}

export interface CheckpointCount {
  readonly all: number;
  readonly guarded: number;
}

export interface AskedAction {
  readonly action: Exclude<Action, "exec" | "delete">;
  readonly request: { readonly name: string; readonly requestId: string };
  readonly force?: boolean;
  /** What the job has to know beside the VM. */
  readonly input?: Json;
}

/** Accepts a job that brings a VM into another state; it holds the VM from here on. */
export async function acceptAction(deps: AcceptDeps, call: CallScope, asked: AskedAction) {
  const { action, request, force = false, input = {} } = asked;
  const { body } = await find(deps.vms, request.name);
  return deps.operations.accept<Vm>(
    {
      ...accepting(call, request),
      kind: `vm.${action}`,
      input: { uid: body.uid, ...input },
      fingerprint: input,
    },
    {
      codec: Vm,
      uid: body.uid,
      missingReason: "VM_NOT_FOUND",
      expect: (stored) => refuseUnless(stored, action, force),
    },
  );
}

/**
 * Accepts the removal of a VM; a repetition is given its first operation when the VM is gone already. Fails with
 * VM_HAS_CHECKPOINTS or VM_HAS_PROTECTED where those were not asked to go with it.
 */
export async function acceptDelete(deps: AcceptDeps, call: CallScope, request: DeleteVmRequest) {
  const { name, force, withCheckpoints, withProtected } = request;
  const fingerprint = { force, withCheckpoints, withProtected };
  const asked = { ...accepting(call, request), kind: "vm.delete", fingerprint };
  const stored = await deps.vms.get(name);
  if (stored === undefined) {
    const first = await deps.operations.repeated(asked);
    if (first === undefined) throw vmNotFound(name);
    return first;
  }
  const { body } = stored;
  await refuseCheckpoints(deps, request);
  return deps.operations.accept<Vm>(
    { ...asked, input: { uid: body.uid, before: body.state } },
    {
      codec: Vm,
      uid: body.uid,
      missingReason: "VM_NOT_FOUND",
      expect: (stored) => refuseUnless(stored, "delete", force),
      change: (stored) => ({
        body: { ...stored.body, state: VmState.DELETING },
        events: [vmEvent("deleting", stored.body)],
      }),
    },
  );
}

/** Throws VM_STATE when the action makes no sense in the state that the VM is in. */
export function refuseUnless({ name, body }: Pick<StoredRecord<Vm>, "name" | "body">, action: Action, force = false) {
  const refused = refusal(action, body.state, force);
  if (refused === undefined) return;
  throw new StillpointError("VM_STATE", `cannot ${action} ${name}: it ${refused.message}`, {
    help: refused.help,
    metadata: { state: body.state },
  });
}

/** What every job of a VM is accepted with. */
export function accepting(
  { principal, traceparent }: CallScope,
  { name, requestId }: { readonly name: string; readonly requestId: string },
) {
  return {
    target: name,
    principal: principal.name,
    project: parseVmName(name).project,
    requestId,
    ...(traceparent === undefined ? {} : { traceparent }),
  };
}

async function find(vms: RecordStore<Vm>, name: string): Promise<StoredRecord<Vm>> {
  parseVmName(name);
  const stored = await vms.get(name);
  if (stored === undefined) throw vmNotFound(name);
  return stored;
}

async function refuseCheckpoints(
  { countCheckpoints }: AcceptDeps,
  { name, withCheckpoints, withProtected }: DeleteVmRequest,
): Promise<void> {
  const { all, guarded } = await countCheckpoints(name);
  const refuse = (reason: "VM_HAS_CHECKPOINTS" | "VM_HAS_PROTECTED", count: number, what: string) => {
    const noun = count === 1 ? "checkpoint" : "checkpoints";
    throw new StillpointError(reason, `${name} has ${count} ${what}${noun}`, { metadata: { count: `${count}` } });
  };
  if (all > 0 && !withCheckpoints) refuse("VM_HAS_CHECKPOINTS", all, "");
  if (guarded > 0 && !withProtected) refuse("VM_HAS_PROTECTED", guarded, "protected ");
}
