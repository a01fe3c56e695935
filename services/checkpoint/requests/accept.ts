import { CheckpointState } from "#contracts/checkpoint/v1/checkpoint";
import type { Operation } from "#contracts/operation/v1/operation";
import type { CheckpointType, Vm } from "#contracts/vm/v1/vm";
import type { Clock, Random } from "#libs/clock";
import { isStillpointError } from "#libs/errors";
import { parseWorkloadName } from "#libs/names";
import type { AcceptRequest, HoldTarget, Operations, RepeatedRequest } from "#libs/operations";
import type { Json, StoredRecord } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import { chooseType, type TakenType } from "../domain/policy.ts";
import { policyType } from "../records/contract-words.ts";
import { workloadCodec } from "../records/workload-record.ts";
import { checkSettled, type FindDeps, type Found } from "./find-checkpoint.ts";
import type { ProjectDeps } from "./projects.ts";
import { elsewhere, notReady, typeRefused } from "./refusals.ts";

export interface AcceptDeps extends FindDeps, Pick<ProjectDeps, "projects"> {
  readonly operations: Pick<Operations, "accept" | "repeated">;
  readonly clock: Clock;
  readonly random: Random;
  /** Checkpoints of one VM at most. */
  readonly limit: number;
}

export interface Asked extends RepeatedRequest {
  readonly requestId: string;
  readonly traceparent?: string;
}

/** What is known of a request before anything is looked at. `target` is the VM's name. */
export function asked(
  { principal, traceparent }: CallScope,
  { target, requestId }: { readonly target: string; readonly requestId: string },
  { kind, fingerprint }: { readonly kind: string; readonly fingerprint: Json },
): Asked {
  const { project } = parseWorkloadName(target);
  const trace = traceparent === undefined ? {} : { traceparent };
  return { kind, target, principal: principal.name, project, requestId, fingerprint, ...trace };
}

const isGone = (error: unknown): boolean =>
  (["CHECKPOINT_NOT_FOUND", "VM_NOT_FOUND", "CONTAINER_NOT_FOUND", "GROUP_NOT_FOUND"] as const).some((it) =>
    isStillpointError(error, it),
  );

/** Accepts by `work`; when that no longer finds what the request names, a repetition is given its first operation. */
export async function acceptOrRepeat(
  { operations }: Pick<AcceptDeps, "operations">,
  request: RepeatedRequest,
  work: () => Promise<Operation>,
): Promise<Operation> {
  try {
    return await work();
  } catch (error) {
    if (!isGone(error)) throw error;
    const first = await operations.repeated(request);
    if (first === undefined) throw error;
    return first;
  }
}

/**
 * Accepts when `check` does not throw, on the VM as it was read and again on the very state that is held. What is refused
 * at once leaves no operation; a repetition, which the first call's own work may refuse, is given its first operation.
 */
export async function accept(
  { operations }: Pick<AcceptDeps, "operations">,
  request: Asked & Pick<AcceptRequest, "input">,
  vm: StoredRecord<Vm>,
  check: (held: StoredRecord<Vm>) => void,
): Promise<Operation> {
  try {
    check(vm);
  } catch (refusal) {
    const first = await operations.repeated(request);
    if (first === undefined) throw refusal;
    return first;
  }
  const hold: HoldTarget<Vm> = { codec: workloadCodec, uid: vm.uid, expect: check, missingReason: "VM_NOT_FOUND" };
  return operations.accept(request, hold);
}

export interface WantedType {
  readonly asked?: TakenType;
  /** The project's default. */
  readonly inherited: CheckpointType;
}

/** Refuses a VM whose policy does not allow what is asked for. */
export function checkPolicy(vm: StoredRecord<Vm>, { asked: type, inherited }: WantedType): void {
  checkSettled(vm);
  const choice = chooseType(type, policyType(vm.body.spec?.checkpointType, inherited));
  if (!choice.allowed) throw typeRefused(vm.name, choice.why, type);
}

/** Refuses a checkpoint that something else is done with. */
export function checkReady(vm: StoredRecord<Vm>, { checkpoint }: Found): void {
  checkSettled(vm);
  if (checkpoint.body.state !== CheckpointState.READY) throw notReady(checkpoint.name);
}

/** Refuses a checkpoint whose files stayed behind when its workload came to another host. */
export function checkHere(vm: StoredRecord<Vm>, { checkpoint }: Found): void {
  const { host } = checkpoint.body;
  if (host !== vm.body.host) throw elsewhere(checkpoint.name, host, vm.body.host);
}

/** What every job on a checkpoint has to know of it. */
export const inputOf = ({ vm, checkpoint }: Found) => ({
  workloadUid: vm.uid,
  checkpoint: checkpoint.name,
  checkpointUid: checkpoint.uid,
});
