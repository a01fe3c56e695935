import {
  type ApplyCheckpointRequest,
  CheckpointState,
  type CheckpointsServiceImplementation,
  type CreateCheckpointRequest,
  type DeleteCheckpointRequest,
} from "#contracts/checkpoint/v1/checkpoint";
import type { Operation } from "#contracts/operation/v1/operation";
import { type CheckpointType, Vm } from "#contracts/vm/v1/vm";
import { authorise } from "#libs/auth";
import type { Clock, Random } from "#libs/clock";
import { checkDisplayName, parseVmName } from "#libs/names";
import type { AcceptRequest, HoldTarget, Operations } from "#libs/operations";
import type { StoredRecord } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import { treeOf } from "./checkpoint-store.ts";
import { cloneHandlers } from "./clone-handlers.ts";
import { askedType, policyType } from "./contract-words.ts";
import { defaultDisplayName } from "./domain/display-name.ts";
import { chooseType, type TakenType } from "./domain/policy.ts";
import { checkSettled, type FindDeps, type Found, findCheckpoint, findVm, toApi } from "./find-checkpoint.ts";
import type { ApplyInput } from "./jobs/apply.ts";
import type { CreateInput } from "./jobs/create-state.ts";
import type { DeleteInput } from "./jobs/delete.ts";
import { type ProjectDeps, projectType } from "./projects.ts";
import { protectCheckpoint } from "./protect.ts";
import { checkReadiness, type ReadinessDeps } from "./readiness.ts";
import { full, isProtected, nameTaken, notReady, typeRefused } from "./refusals.ts";
import { renameCheckpoint } from "./rename.ts";

export interface HandlerDeps extends FindDeps, Pick<ProjectDeps, "projects">, ReadinessDeps {
  readonly operations: Pick<Operations, "accept" | "get">;
  readonly clock: Clock;
  readonly random: Random;
  /** Checkpoints of one VM at most. */
  readonly limit: number;
}

/** Checks a request, and accepts it as an operation that holds the VM. */
export function checkpointsHandlers(deps: HandlerDeps): CheckpointsServiceImplementation<CallScope> {
  return {
    async createCheckpoint(request, call) {
      authorise(call.principal, "create", request.parent);
      return createCheckpoint(deps, request, call);
    },

    async getCheckpoint({ name }, { principal }) {
      authorise(principal, "get", name);
      const { checkpoint } = await findCheckpoint(deps, name);
      return toApi(checkpoint);
    },

    async listCheckpoints({ parent }, { principal }) {
      authorise(principal, "list", parent);
      const vm = await findVm(deps, parent);
      const { checkpoints, head } = await deps.store.tree({ name: parent, uid: vm.uid });
      return { checkpoints: checkpoints.map(toApi), ...(head === undefined ? {} : { head: head.body }) };
    },

    async applyCheckpoint(request, call) {
      authorise(call.principal, "apply", request.name);
      return applyCheckpoint(deps, request, call);
    },

    async deleteCheckpoint(request, call) {
      authorise(call.principal, "delete", request.name);
      return deleteCheckpoint(deps, request, call);
    },

    ...cloneHandlers(deps),

    async renameCheckpoint(request, call) {
      authorise(call.principal, "update", request.name);
      return renameCheckpoint(deps, request);
    },

    async protectCheckpoint(request, call) {
      authorise(call.principal, "update", request.name);
      return protectCheckpoint(deps, request);
    },

    async checkReadiness({ name }, { principal, signal }) {
      authorise(principal, "get", name);
      return checkReadiness(deps, name, signal);
    },
  };
}

async function createCheckpoint(deps: HandlerDeps, request: CreateCheckpointRequest, call: CallScope) {
  const { parent, displayName, type, requestId } = request;
  const asked = askedType(type);
  if (displayName !== "") checkDisplayName(displayName);
  const vm = await findVm(deps, parent);
  const inherited = await projectType(deps, parent);
  const tree = treeOf(await deps.store.tree({ name: parent, uid: vm.uid }));
  const taken = new Set(tree.nodes.map((node) => node.displayName));
  const input: CreateInput = {
    workloadUid: vm.uid,
    checkpointUid: deps.random.id("ckpt"),
    displayName: displayName || defaultDisplayName(parseVmName(parent).vm, deps.clock.now(), taken),
    ...(asked === undefined ? {} : { asked }),
  };
  const fingerprint = { parent, displayName, type };
  const accepted = { ...common(call, parent, requestId), kind: "checkpoint.create", input: { ...input }, fingerprint };
  return accept(deps, accepted, vm, (held) => {
    checkPolicy(held, { asked, inherited });
    if (tree.nodes.length >= deps.limit) throw full(parent, deps.limit);
    if (taken.has(displayName)) throw nameTaken(parent, displayName);
  });
}

async function applyCheckpoint(deps: HandlerDeps, { name, requestId }: ApplyCheckpointRequest, call: CallScope) {
  const found = await findCheckpoint(deps, name);
  const input: ApplyInput = { ...inputOf(found), generationId: deps.random.id("gen").slice("gen-".length) };
  const accepted = { ...common(call, found.vm.name, requestId), kind: "checkpoint.apply", input: { ...input } };
  return accept(deps, { ...accepted, fingerprint: { name } }, found.vm, (held) => checkReady(held, found));
}

async function deleteCheckpoint(deps: HandlerDeps, { name, requestId }: DeleteCheckpointRequest, call: CallScope) {
  const found = await findCheckpoint(deps, name);
  const input: DeleteInput = inputOf(found);
  const accepted = { ...common(call, found.vm.name, requestId), kind: "checkpoint.delete", input: { ...input } };
  return accept(deps, { ...accepted, fingerprint: { name } }, found.vm, (held) => {
    checkReady(held, found);
    if (found.checkpoint.body.protected) throw isProtected(found.checkpoint.name);
  });
}

/**
 * Accepts when `check` does not throw, on the VM as it was read and again on the very state that is held. A request
 * id that may be a repetition is checked on the held state alone: the first call's own work must not refuse the second.
 */
async function accept(
  { operations }: HandlerDeps,
  request: AcceptRequest,
  vm: StoredRecord<Vm>,
  check: (held: StoredRecord<Vm>) => void,
): Promise<Operation> {
  if (request.requestId === "") check(vm);
  const hold: HoldTarget<Vm> = { codec: Vm, uid: vm.uid, expect: check, missingReason: "VM_NOT_FOUND" };
  return operations.accept(request, hold);
}

interface Wanted {
  readonly asked: TakenType | undefined;
  /** The project's default. */
  readonly inherited: CheckpointType;
}

function checkPolicy(vm: StoredRecord<Vm>, { asked, inherited }: Wanted): void {
  checkSettled(vm);
  const choice = chooseType(asked, policyType(vm.body.spec?.checkpointType, inherited));
  if (!choice.allowed) throw typeRefused(vm.name, choice.why, asked);
}

function checkReady(vm: StoredRecord<Vm>, { checkpoint }: Found): void {
  checkSettled(vm);
  if (checkpoint.body.state !== CheckpointState.READY) throw notReady(checkpoint.name);
}

const inputOf = ({ vm, checkpoint }: Found) => ({
  workloadUid: vm.uid,
  checkpoint: checkpoint.name,
  checkpointUid: checkpoint.uid,
});

function common(call: CallScope, target: string, requestId: string): Omit<AcceptRequest, "kind" | "input"> {
  const { principal, traceparent } = call;
  const trace = traceparent === undefined ? {} : { traceparent };
  return { target, principal: principal.name, project: parseVmName(target).project, requestId, ...trace };
}
