import type { Checkpoint } from "#contracts/checkpoint/v1/checkpoint";
import { renderFields, renderTable } from "./table.ts";
import { showAge, showBytes, showEnum, showTime } from "./units.ts";

export function showCheckpoints(checkpoints: readonly Checkpoint[], now: Date): string {
  if (checkpoints.length === 0) return "No checkpoints. Take one with: stillpoint checkpoint create WORKLOAD";
  const rows = checkpoints.map((checkpoint) => [
    checkpoint.displayName,
    kind(checkpoint),
    consistency(checkpoint),
    checkpoint.fellBack ? "yes" : "",
    checkpoint.reason,
    showEnum(checkpoint.state, "CHECKPOINT_STATE_"),
    showBytes(checkpoint.sizeBytes),
    showAge(checkpoint.createTime, now),
  ]);
  return renderTable(["NAME", "KIND", "CONSISTENCY", "FELL BACK", "REASON", "STATE", "SIZE", "AGE"], rows);
}

export function showCheckpoint(checkpoint: Checkpoint): string {
  return renderFields([
    ["Name", checkpoint.displayName],
    ["Id", checkpoint.uid],
    ["Parent", checkpoint.parent],
    ["Kind", kind(checkpoint)],
    ["Consistency", consistency(checkpoint)],
    ["Asked for", showEnum(checkpoint.requestedType, "CHECKPOINT_TYPE_")],
    ["Fell back", checkpoint.fellBack ? "yes" : "no"],
    ["Reason", checkpoint.reason],
    ["State", showEnum(checkpoint.state, "CHECKPOINT_STATE_")],
    ["Protected", checkpoint.protected ? "yes" : "no"],
    ["Size", showBytes(checkpoint.sizeBytes)],
    ["Host", checkpoint.host],
    ["Operation", checkpoint.operation],
    ["Taken", showTime(checkpoint.createTime)],
  ]);
}

/** What was reached, in one sentence. */
export function showCheckpointLine(checkpoint: Checkpoint): string {
  const reached = `${kind(checkpoint)} checkpoint "${checkpoint.displayName}" is taken: ${consistency(checkpoint)} consistent`;
  const instead = checkpoint.fellBack ? `, not ${showEnum(checkpoint.requestedType, "CHECKPOINT_TYPE_")}` : "";
  const why = checkpoint.reason === "" ? instead : `${instead}: ${checkpoint.reason}`;
  return `${reached.charAt(0).toUpperCase()}${reached.slice(1)}${why}.`;
}

export const kind = (checkpoint: Checkpoint): string => showEnum(checkpoint.kind, "CHECKPOINT_KIND_");

export const consistency = (checkpoint: Checkpoint): string => showEnum(checkpoint.consistency, "CONSISTENCY_");
