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
    proven(checkpoint, now),
  ]);
  return renderTable(["NAME", "KIND", "CONSISTENCY", "FELL BACK", "REASON", "STATE", "SIZE", "AGE", "PROVEN"], rows);
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
    ["With below", showBytes(checkpoint.cumulativeBytes)],
    ["Left out", checkpoint.excludedDisks.join(", ")],
    ["Host", checkpoint.host],
    ["Operation", checkpoint.operation],
    ["Schedule", checkpoint.schedule],
    ["Group", checkpoint.groupCheckpoint],
    ["Came from", checkpoint.origin],
    ["Pushed to", checkpoint.pushed.map(({ reference, digest }) => `${reference} (${digest})`).join("\n")],
    ["Taken", showTime(checkpoint.createTime)],
    ["Proven", showTime(checkpoint.provenTime)],
  ]);
}

/** What was reached, in one sentence; where that is less than was asked for, also what that was, and why. */
export function showCheckpointLine(checkpoint: Checkpoint): string {
  const reached = `${kind(checkpoint)} checkpoint "${checkpoint.displayName}" is taken, ${consistency(checkpoint)} consistent`;
  const summary: unknown = checkpoint.receipt?.summary;
  const why = checkpoint.reason !== "" && typeof summary === "string" ? `: ${summary}` : "";
  const without = checkpoint.excludedDisks.length === 0 ? "" : ` Left out: ${checkpoint.excludedDisks.join(", ")}.`;
  return `${reached.charAt(0).toUpperCase()}${reached.slice(1)}${why}.${without}`;
}

/** How long ago a drill last proved that it restores; empty when none has. */
export const proven = ({ provenTime }: Checkpoint, now: Date): string =>
  provenTime === undefined ? "" : `${showAge(provenTime, now)} ago`;

export const kind = (checkpoint: Checkpoint): string => showEnum(checkpoint.kind, "CHECKPOINT_KIND_");

export const consistency = (checkpoint: Checkpoint): string => showEnum(checkpoint.consistency, "CONSISTENCY_");
