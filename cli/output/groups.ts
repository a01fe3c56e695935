import type { Group, GroupCheckpoint } from "#contracts/checkpoint/v1/group";
import { renderFields, renderTable } from "./table.ts";
import { lastPart, showAge, showEnum, showTime, showWorkload } from "./units.ts";

export function showGroups(groups: readonly Group[]): string {
  if (groups.length === 0) return "No groups. Make one with: stillpoint group create NAME WORKLOAD...";
  const rows = groups.map((group) => [lastPart(group.name), members(group), typeOf(group.checkpointType)]);
  return renderTable(["NAME", "MEMBERS, IN ORDER", "CHECKPOINTS"], rows);
}

export function showGroup(group: Group): string {
  const { seconds = 10, nanos = 0 } = group.freezeWindow ?? {};
  return renderFields([
    ["Name", group.name],
    ["Members", members(group)],
    ["Checkpoints", typeOf(group.checkpointType)],
    ["Freeze window", `${Number(seconds) + nanos / 1_000_000_000} s`],
    ["Operation", group.operation],
    ["Changed", showTime(group.updateTime)],
  ]);
}

export function showGroupCheckpoints(checkpoints: readonly GroupCheckpoint[], now: Date): string {
  if (checkpoints.length === 0) return "No checkpoints. Take one with: stillpoint group checkpoint NAME";
  const rows = checkpoints.map((checkpoint) => [
    checkpoint.displayName,
    reached(checkpoint),
    checkpoint.fellBack ? "yes" : "",
    checkpoint.reason,
    `${checkpoint.skewMs} ms`,
    showAge(checkpoint.createTime, now),
  ]);
  return renderTable(["NAME", "MEMBERS", "FELL BACK", "REASON", "SKEW", "AGE"], rows);
}

/** What was reached, in one sentence. */
export function showGroupCheckpointLine(checkpoint: GroupCheckpoint): string {
  const { displayName, requestedType, fellBack, reason, skewMs, receipt } = checkpoint;
  const byWhom = receipt?.clocks === "several" ? " by their hosts' clocks" : "";
  const why = fellBack ? `; asked for ${typeOf(requestedType)}: ${reason}, ${String(receipt?.detail ?? "")}` : "";
  return `Checkpoint "${displayName}" of ${checkpoint.members.length} members is taken, ${skewMs} ms apart${byWhom}: ${reached(checkpoint)}${why}.`;
}

const members = (group: Group): string => group.members.map(showWorkload).join(", ");

const typeOf = (type: string): string => showEnum(type, "CHECKPOINT_TYPE_");

const reached = ({ members: taken }: GroupCheckpoint): string =>
  taken.map(({ vm, consistency }) => `${showWorkload(vm)} ${showEnum(consistency, "CONSISTENCY_")}`).join(", ");
