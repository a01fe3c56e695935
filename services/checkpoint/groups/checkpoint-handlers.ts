import {
  type ApplyGroupCheckpointRequest,
  type CreateGroupCheckpointRequest,
  type DeleteGroupCheckpointRequest,
  Group,
  type GroupCheckpoint,
  type GroupsServiceImplementation,
} from "#contracts/checkpoint/v1/group";
import type { Operation } from "#contracts/operation/v1/operation";
import { authorise } from "#libs/auth";
import type { Clock, Random } from "#libs/clock";
import { checkDisplayName, parseGroupCheckpointName, parseGroupName } from "#libs/names";
import type { AcceptRequest, HoldTarget, Operations } from "#libs/operations";
import type { StoredRecord } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import { defaultDisplayName } from "../domain/display-name.ts";
import { treeOf } from "../records/checkpoint-store.ts";
import { askedType } from "../records/contract-words.ts";
import { acceptOrRepeat } from "../requests/accept.ts";
import { checkSettled, type FindDeps, findCheckpoint, findVm } from "../requests/find-checkpoint.ts";
import { windowMs } from "../requests/freeze-window.ts";
import { isProtected, nameTaken } from "../requests/refusals.ts";
import type { GroupChangeInput, MemberCheckpoint } from "./change-jobs.ts";
import {
  findGroup,
  findGroupCheckpoint,
  type GroupStore,
  groupCheckpointsOf,
  groupCheckpointToApi,
} from "./group-store.ts";
import type { GroupCreateInput, Member } from "./members.ts";

export interface GroupHandlerDeps extends FindDeps, GroupStore {
  readonly operations: Pick<Operations, "accept" | "get" | "repeated">;
  readonly clock: Clock;
  readonly random: Random;
}

type CheckpointMethod = Extract<keyof GroupsServiceImplementation, `${string}GroupCheckpoint${string}`>;

export function groupCheckpointsHandlers(
  deps: GroupHandlerDeps,
): Pick<GroupsServiceImplementation<CallScope>, CheckpointMethod> {
  return {
    async createGroupCheckpoint(request, call) {
      authorise(call.principal, "create", request.parent);
      return createGroupCheckpoint(deps, request, call);
    },

    async getGroupCheckpoint({ name }, { principal }) {
      authorise(principal, "get", name);
      return groupCheckpointToApi((await findGroupCheckpoint(deps, name)).checkpoint);
    },

    async listGroupCheckpoints({ parent }, { principal }) {
      authorise(principal, "list", parent);
      const group = await findGroup(deps, parent);
      return { checkpoints: (await groupCheckpointsOf(deps, group.name)).map(groupCheckpointToApi) };
    },

    async applyGroupCheckpoint(request, call) {
      authorise(call.principal, "apply", request.name);
      return applyGroupCheckpoint(deps, request, call);
    },

    async deleteGroupCheckpoint(request, call) {
      authorise(call.principal, "delete", request.name);
      return deleteGroupCheckpoint(deps, request, call);
    },
  };
}

async function createGroupCheckpoint(
  deps: GroupHandlerDeps,
  { parent, displayName, type, requestId }: CreateGroupCheckpointRequest,
  call: CallScope,
): Promise<Operation> {
  if (displayName !== "") checkDisplayName(displayName);
  const asked = askedType(type);
  const group = await findGroup(deps, parent);
  const { members, names } = await membersOf(deps, group);
  const taken = new Set([...names, ...(await groupCheckpointsOf(deps, parent)).map(({ body }) => body.displayName)]);
  const input: GroupCreateInput = {
    groupUid: group.uid,
    groupCheckpointUid: deps.random.id("gckpt"),
    displayName: displayName || defaultDisplayName(parseGroupName(parent).group, deps.clock.now(), taken),
    asked: asked ?? askedType(group.body.checkpointType) ?? "production",
    freezeWindowMs: windowMs(group.body.freezeWindow),
    members,
  };
  const fingerprint = { parent, displayName, type };
  const request = { ...common(call, parent, requestId), kind: "checkpoint.group-create", fingerprint };
  return accept(deps, { ...request, input: { ...input } }, group, () => {
    if (taken.has(displayName)) throw nameTaken(parent, displayName);
  });
}

/** The VMs of a group as they are now, and the display names that any of them has used. */
async function membersOf(deps: GroupHandlerDeps, { body }: StoredRecord<Group>) {
  const members: Member[] = [];
  const names: string[] = [];
  for (const name of body.members) {
    const vm = await findVm(deps, name);
    const tree = treeOf(await deps.store.tree({ name, uid: vm.uid }));
    names.push(...tree.nodes.map(({ displayName }) => displayName));
    members.push({ vm: name, workloadUid: vm.uid, checkpointUid: deps.random.id("ckpt") });
  }
  return { members, names };
}

async function applyGroupCheckpoint(
  deps: GroupHandlerDeps,
  { name, requestId }: ApplyGroupCheckpointRequest,
  call: CallScope,
): Promise<Operation> {
  const { group, checkpoint } = await findGroupCheckpoint(deps, name);
  const members: MemberCheckpoint[] = [];
  for (const member of checkpoint.body.members) members.push(await memberCheckpoint(deps, member));
  return change(deps, { kind: "checkpoint.group-apply", name, requestId, call }, { group, checkpoint, members });
}

/** A repetition is given its first operation when the checkpoint is gone already. */
async function deleteGroupCheckpoint(
  deps: GroupHandlerDeps,
  { name, requestId }: DeleteGroupCheckpointRequest,
  call: CallScope,
): Promise<Operation> {
  const { group: target } = parseGroupCheckpointName(name);
  const kind = "checkpoint.group-delete";
  return acceptOrRepeat(deps, { ...common(call, target, requestId), kind, fingerprint: { name } }, async () => {
    const { group, checkpoint } = await findGroupCheckpoint(deps, name);
    const members: MemberCheckpoint[] = [];
    for (const member of checkpoint.body.members) {
      const stored = await deps.store.records.get(member.checkpoint);
      if (stored === undefined) continue;
      if (stored.body.protected) throw isProtected(stored.name);
      members.push(await memberCheckpoint(deps, member));
    }
    return change(deps, { kind, name, requestId, call }, { group, checkpoint, members });
  });
}

async function memberCheckpoint(
  deps: GroupHandlerDeps,
  member: GroupCheckpoint["members"][number],
): Promise<MemberCheckpoint> {
  const { vm, checkpoint } = await findCheckpoint(deps, member.checkpoint);
  checkSettled(vm);
  return {
    ...{ vm: vm.name, workloadUid: vm.uid, checkpoint: checkpoint.name, checkpointUid: checkpoint.uid },
    generationId: deps.random.id("gen").slice("gen-".length),
  };
}

interface Change {
  readonly group: StoredRecord<Group>;
  readonly checkpoint: StoredRecord<GroupCheckpoint>;
  readonly members: readonly MemberCheckpoint[];
}

interface Asked {
  readonly kind: string;
  /** The checkpoint, as the request names it. */
  readonly name: string;
  readonly requestId: string;
  readonly call: CallScope;
}

function change(deps: GroupHandlerDeps, { kind, name, requestId, call }: Asked, of: Change): Promise<Operation> {
  const { group, checkpoint, members } = of;
  const input: GroupChangeInput = { groupUid: group.uid, groupCheckpoint: checkpoint.name, members };
  const request = { ...common(call, group.name, requestId), kind, fingerprint: { name } };
  return accept(deps, { ...request, input: { ...input } }, group, () => undefined);
}

function accept(
  { operations }: GroupHandlerDeps,
  request: AcceptRequest,
  group: StoredRecord<Group>,
  check: () => void,
): Promise<Operation> {
  if (request.requestId === "") check();
  const hold: HoldTarget<Group> = { codec: Group, uid: group.uid, expect: check, missingReason: "GROUP_NOT_FOUND" };
  return operations.accept(request, hold);
}

function common(call: CallScope, target: string, requestId: string): Omit<AcceptRequest, "kind" | "input"> {
  const { principal, traceparent } = call;
  const trace = traceparent === undefined ? {} : { traceparent };
  return { target, principal: principal.name, project: parseGroupName(target).project, requestId, ...trace };
}
