import { Group, GroupCheckpoint } from "#contracts/checkpoint/v1/group";
import { StillpointError } from "#libs/errors";
import { operationName, parseGroupCheckpointName, parseGroupName } from "#libs/names";
import { type Log, type RecordStore, type StoredRecord, subjectOfName } from "#libs/records";
import { listRecords } from "../records/list-records.ts";
import { noCheckpoint } from "../requests/refusals.ts";

export interface GroupStore {
  readonly log: Pick<Log, "newest">;
  readonly groups: RecordStore<Group>;
  readonly groupCheckpoints: RecordStore<GroupCheckpoint>;
}

/** The group of that name; NAME_INVALID or GROUP_NOT_FOUND. */
export async function findGroup({ groups }: GroupStore, name: string): Promise<StoredRecord<Group>> {
  parseGroupName(name);
  const group = await groups.get(name);
  if (group === undefined) throw new StillpointError("GROUP_NOT_FOUND", `there is no group ${name}`);
  return group;
}

/** Oldest first. */
export function groupCheckpointsOf(
  { log, groupCheckpoints }: GroupStore,
  group: string,
): Promise<StoredRecord<GroupCheckpoint>[]> {
  return listRecords(log, groupCheckpoints, `${subjectOfName(group)}.checkpoints.*`);
}

/** A group's checkpoint by its id or display name. */
export async function findGroupCheckpoint(store: GroupStore, name: string) {
  const { group: groupName, checkpoint: wanted } = parseGroupCheckpointName(name);
  const group = await findGroup(store, groupName);
  const all = await groupCheckpointsOf(store, groupName);
  const checkpoint = all.find(({ uid }) => uid === wanted) ?? all.find(({ body }) => body.displayName === wanted);
  if (checkpoint === undefined) throw noCheckpoint(name);
  return { group, checkpoint };
}

/** As the API shows it. */
export function groupToApi({ body, operation, version, time }: StoredRecord<Group>): Group {
  return Group.fromPartial({ ...body, operation: heldBy(operation), version, updateTime: time });
}

export function groupCheckpointToApi({ body, operation, version }: StoredRecord<GroupCheckpoint>): GroupCheckpoint {
  return GroupCheckpoint.fromPartial({ ...body, operation: heldBy(operation), version });
}

const heldBy = (operation: string | undefined) => (operation === undefined ? "" : operationName(operation));
