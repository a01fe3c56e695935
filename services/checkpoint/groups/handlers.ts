import {
  type CreateGroupRequest,
  Group,
  type GroupsServiceImplementation,
  type UpdateGroupRequest,
} from "#contracts/checkpoint/v1/group";
import { CheckpointType } from "#contracts/vm/v1/vm";
import { authorise } from "#libs/auth";
import { StillpointError } from "#libs/errors";
import { groupName, parseProject, parseWorkloadName, projectName } from "#libs/names";
import { createOnce, type StoredRecord, subjectOfName } from "#libs/records";
import { type CallScope, callUid, removedOnce } from "#libs/rpc";
import { askedType, typeWords } from "../records/contract-words.ts";
import { listRecords } from "../records/list-records.ts";
import { findVm } from "../requests/find-checkpoint.ts";
import { checkWindow } from "../requests/freeze-window.ts";
import { type GroupHandlerDeps, groupCheckpointsHandlers } from "./checkpoint-handlers.ts";
import { findGroup, groupCheckpointsOf, groupToApi } from "./group-store.ts";

const mostMembers = 16;

/** Groups of VMs and containers, and their checkpoints. */
export function groupsHandlers(deps: GroupHandlerDeps): GroupsServiceImplementation<CallScope> {
  return {
    async createGroup(request, call) {
      const name = groupName(parseProject(request.parent), request.groupId);
      authorise(call.principal, "create", name);
      return groupToApi(await createGroup(deps, request, { name, uid: callUid("group", call, name) }));
    },

    async getGroup({ name }, { principal }) {
      authorise(principal, "get", name);
      return groupToApi(await findGroup(deps, name));
    },

    async listGroups({ parent }, { principal }) {
      authorise(principal, "list", parent);
      const filter = `${subjectOfName(projectName(parseProject(parent)))}.groups.*`;
      const groups = (await listRecords(deps.log, deps.groups, filter)).map(groupToApi);
      return { groups: groups.toSorted((a, b) => (a.name < b.name ? -1 : 1)) };
    },

    async updateGroup(request, { principal }) {
      authorise(principal, "update", request.name);
      return groupToApi(await updateGroup(deps, request));
    },

    async deleteGroup({ name }, call) {
      authorise(call.principal, "delete", name);
      const removed = await removedOnce(call, "GROUP_NOT_FOUND", () => deleteGroup(deps, name));
      return removed === undefined ? Group.fromPartial({ name }) : groupToApi(removed);
    },

    ...groupCheckpointsHandlers(deps),
  };
}

async function createGroup(
  deps: GroupHandlerDeps,
  request: CreateGroupRequest,
  { name, uid }: { readonly name: string; readonly uid: string },
): Promise<StoredRecord<Group>> {
  const members = await checkMembers(deps, request.parent, request.members);
  const freezeWindow = checkWindow(request.freezeWindow);
  const now = deps.clock.now();
  const body = Group.fromPartial({
    ...{ name, uid, members, createTime: now, updateTime: now },
    checkpointType: groupType(request.checkpointType),
    ...(freezeWindow === undefined ? {} : { freezeWindow }),
  });
  const events = [{ aggregate: "group", happened: "created", data: { name, members } }];
  try {
    return await createOnce(deps.groups, name, { uid, body, events });
  } catch (cause) {
    if ((await deps.groups.get(name)) === undefined) throw cause;
    throw new StillpointError("GROUP_EXISTS", `${name} exists already`, { cause });
  }
}

async function updateGroup(deps: GroupHandlerDeps, request: UpdateGroupRequest): Promise<StoredRecord<Group>> {
  const { name } = request;
  const { body } = await findGroup(deps, name);
  const project = name.slice(0, name.indexOf("/groups/"));
  const members = request.members.length === 0 ? body.members : await checkMembers(deps, project, request.members);
  const isTyped = request.checkpointType !== CheckpointType.UNSPECIFIED;
  const checkpointType = isTyped ? groupType(request.checkpointType) : body.checkpointType;
  const freezeWindow = checkWindow(request.freezeWindow) ?? body.freezeWindow;
  const change = { members, checkpointType, freezeWindow, updateTime: deps.clock.now() };
  const events = [{ aggregate: "group", happened: "updated", data: { name, members } }];
  const stored = await deps.groups.modify(name, (old) => ({ body: { ...old.body, ...change }, events }));
  if (stored === undefined) throw new StillpointError("GROUP_NOT_FOUND", `there is no group ${name}`);
  return stored;
}

async function deleteGroup(deps: GroupHandlerDeps, name: string): Promise<StoredRecord<Group>> {
  const stored = await findGroup(deps, name);
  await refuseBusy(deps, stored);
  const checkpoints = await groupCheckpointsOf(deps, name);
  if (checkpoints.length > 0) {
    throw new StillpointError("GROUP_HAS_CHECKPOINTS", `${name} has ${checkpoints.length} checkpoints`);
  }
  await deps.groups.remove(stored, [{ aggregate: "group", happened: "deleted", data: { name } }]);
  return stored;
}

/** Gives the members back when each is a VM or a container of the project, once. */
async function checkMembers(deps: GroupHandlerDeps, project: string, members: readonly string[]): Promise<string[]> {
  if (members.length < 1 || members.length > mostMembers || new Set(members).size !== members.length) {
    throw new StillpointError("ARGUMENT_INVALID", `a group has 1 to ${mostMembers} members, each once`);
  }
  for (const member of members) {
    if (projectName(parseWorkloadName(member).project) !== project) {
      throw new StillpointError("ARGUMENT_INVALID", `${member} is not of ${project}`);
    }
    await findVm(deps, member);
  }
  return [...members];
}

/** Production where none is said. Fails with ARGUMENT_INVALID for one that takes nothing. */
const groupType = (type: CheckpointType): CheckpointType => typeWords[askedType(type) ?? "production"];

async function refuseBusy({ operations }: GroupHandlerDeps, { name, operation }: StoredRecord<Group>): Promise<void> {
  const holder = operation === undefined ? undefined : await operations.get(operation);
  if (holder === undefined || holder.done) return;
  throw new StillpointError("TARGET_BUSY", `${name} is busy with ${holder.kind}: ${holder.name}`, {
    metadata: { operation: holder.name },
  });
}
