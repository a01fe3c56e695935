import type { Checkpoint } from "#contracts/checkpoint/v1/checkpoint";
import { consistency, kind } from "./checkpoints.ts";

/** A new VM or container from a checkpoint, and how consistent what it stands on is. */
export function showClonedLine(
  checkpoint: Checkpoint,
  { vm, started }: { readonly vm: string; readonly started: boolean },
): string {
  const from = `${ownerOf(checkpoint)} is made from ${kind(checkpoint)} checkpoint "${checkpoint.displayName}" of ${vm}`;
  return `${from}: ${reached(checkpoint)}. ${stateOf(checkpoint, started)}`;
}

interface Pulled {
  readonly reference: string;
  readonly isNew: boolean;
  readonly into: string | undefined;
  readonly started: boolean;
}

/** A checkpoint from the registry, and where it is now. */
export function showPulledLine(checkpoint: Checkpoint, { reference, isNew, into, started }: Pulled): string {
  const what = `${kind(checkpoint)} checkpoint "${checkpoint.displayName}"`;
  if (isNew) {
    const made = `${ownerOf(checkpoint)} is made from ${what} of ${reference}`;
    return `${made}: ${reached(checkpoint)}. ${stateOf(checkpoint, started)}`;
  }
  const sentence = `${what} of ${reference} is in the tree of ${into}: ${reached(checkpoint)}.`;
  return `${sentence.charAt(0).toUpperCase()}${sentence.slice(1)}`;
}

/** A drill that passed, and how long it took. */
export function showDrillLine({ name, displayName, lastDrill = {} }: Checkpoint): string {
  const { secondsToAgent, secondsToResult, command } = lastDrill as DrillTimes;
  const checked = (command?.length ?? 0) > 0 ? `, its check passed after ${secondsToResult} s` : "";
  const up = name.includes("/containers/") ? "the container was up" : "the guest's agent answered";
  return `Checkpoint "${displayName}" is proven: ${up} after ${secondsToAgent} s${checked}.`;
}

interface DrillTimes {
  readonly secondsToAgent?: number;
  readonly secondsToResult?: number;
  readonly command?: readonly string[];
}

/** "VM web-1", "Container db". */
function ownerOf({ name }: Checkpoint): string {
  const [, kind, id = ""] = /\/(vms|containers)\/([^/]+)\/checkpoints\//.exec(name) ?? [];
  return `${kind === "containers" ? "Container" : "VM"} ${id}`;
}

function reached(checkpoint: Checkpoint): string {
  const why = checkpoint.reason === "" ? "" : ` (${checkpoint.reason})`;
  return `${consistency(checkpoint)} consistent${why}`;
}

function stateOf(checkpoint: Checkpoint, started: boolean): string {
  if (!started) return "It is off.";
  return checkpoint.kind === "CHECKPOINT_KIND_STANDARD" ? "It goes on at that instant." : "It starts.";
}
