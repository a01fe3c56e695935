import { StillpointError } from "#libs/errors";
import type { CheckpointEntry, Layer, Manifest } from "../manifest.ts";
import { withoutUnneeded } from "./layer-graph.ts";

/** @throws StillpointError CHECKPOINT_DAMAGED */
export function layerOf(manifest: Manifest, id: string): Layer {
  const layer = manifest.layers[id];
  if (layer === undefined) throw new StillpointError("CHECKPOINT_DAMAGED", `layer ${id} is not in the manifest`);
  return layer;
}

/** Layers of a disk from the bottom to `top`. */
export function chainOf(manifest: Manifest, top: string): string[] {
  const chain: string[] = [];
  for (let id: string | null = top; id !== null; id = layerOf(manifest, id).parent) chain.unshift(id);
  return chain;
}

/** @throws StillpointError CHECKPOINT_NOT_FOUND */
export function checkpointOf(manifest: Manifest, uid: string): CheckpointEntry {
  const entry = manifest.checkpoints[uid];
  if (entry !== undefined) return entry;
  throw new StillpointError("CHECKPOINT_NOT_FOUND", `workload ${manifest.uid} has no checkpoint ${uid} on this host`);
}

/** The layers of `now`, by disk. */
export function nowLayers(manifest: Manifest): Record<string, string> {
  return Object.fromEntries(Object.entries(manifest.disks).map(([disk, { now }]) => [disk, now]));
}

/** The layers that the pending checkpoint is of, by disk: those of now without the disks that it leaves out. */
export function takenLayers(manifest: Manifest): Record<string, string> {
  const { pending } = manifest;
  if (pending === null) throw new Error("no checkpoint is pending");
  return Object.fromEntries(Object.entries(nowLayers(manifest)).filter(([disk]) => disk in pending.layers));
}

/** The pending checkpoint becomes real: what was now is frozen, and its new layers are now. */
export function withTaken(
  manifest: Manifest,
  entry: Omit<CheckpointEntry, "parent" | "layers" | "operation">,
): Manifest {
  const { pending } = manifest;
  if (pending === null) throw new Error("no checkpoint is pending");
  const frozen = takenLayers(manifest);
  const taken = { ...entry, parent: manifest.head, layers: frozen, operation: pending.operation };
  return {
    ...withNow(manifest, pending.layers, frozen),
    checkpoints: { ...manifest.checkpoints, [pending.checkpoint]: taken },
    head: pending.checkpoint,
    pending: null,
  };
}

/**
 * Whether a checkpoint can be taken back: now, and nothing else, stands on it, and directly on its layers.
 */
export function isNewest(manifest: Manifest, uid: string): boolean {
  const { layers } = checkpointOf(manifest, uid);
  const isParent = Object.values(manifest.checkpoints).some(({ parent }) => parent === uid);
  if (manifest.head !== uid || isParent) return false;
  return Object.entries(layers).every(([disk, layer]) => {
    const now = manifest.disks[disk]?.now;
    const above = Object.entries(manifest.layers).filter(([, { parent }]) => parent === layer);
    return above.length === 1 && above[0]?.[0] === now;
  });
}

/** The newest checkpoint becomes pending again, so that it can be rolled back. */
export function withUntaken(manifest: Manifest, uid: string, operation: string): Manifest {
  const { [uid]: entry, ...checkpoints } = manifest.checkpoints;
  if (entry === undefined) return manifest;
  const above = Object.entries(nowLayers(manifest)).filter(([disk]) => entry.layers[disk] !== undefined);
  const layers = Object.fromEntries(above);
  const kept = withoutLayers(manifest, new Set(Object.values(layers)));
  const disks = Object.fromEntries(
    Object.entries(manifest.disks).map(([disk, old]) => [disk, { ...old, now: entry.layers[disk] ?? old.now }]),
  );
  const pending = { operation, checkpoint: uid, layers, ownStop: false };
  return { ...manifest, disks, layers: kept, checkpoints, head: entry.parent, pending };
}

/**
 * Now goes on from a checkpoint in new layers; the ones that now had on these disks are gone, and with them what only
 * they needed. A disk that the checkpoint does not hold stays as it is.
 */
export function withApplied(manifest: Manifest, uid: string, layers: Readonly<Record<string, string>>): Manifest {
  const left = Object.entries(nowLayers(manifest)).filter(([disk]) => layers[disk] !== undefined);
  const kept = withoutLayers(manifest, new Set(left.map(([, layer]) => layer)));
  const applied = withNow({ ...manifest, layers: kept }, layers, checkpointOf(manifest, uid).layers);
  return withoutUnneeded({ ...applied, head: uid });
}

/**
 * Checkpoints are forgotten; what stood on them stands on the nearest one below that is left. Their layers stay while
 * something stands on them. Forgetting twice changes nothing.
 */
export function withoutCheckpoints(manifest: Manifest, uids: readonly string[]): Manifest {
  const gone = new Set(uids);
  const left = (uid: string | null): string | null => {
    let next = uid;
    while (next !== null && gone.has(next)) next = manifest.checkpoints[next]?.parent ?? null;
    return next;
  };
  const checkpoints = Object.fromEntries(
    Object.entries(manifest.checkpoints)
      .filter(([uid]) => !gone.has(uid))
      .map(([uid, entry]) => [uid, { ...entry, parent: left(entry.parent) }]),
  );
  return withoutUnneeded({ ...manifest, checkpoints, head: left(manifest.head) });
}

function withoutLayers({ layers }: Manifest, gone: ReadonlySet<string>): Manifest["layers"] {
  return Object.fromEntries(Object.entries(layers).filter(([id]) => !gone.has(id)));
}

function withNow(
  manifest: Manifest,
  now: Readonly<Record<string, string>>,
  below: Readonly<Record<string, string>>,
): Manifest {
  const disks = { ...manifest.disks };
  const layers = { ...manifest.layers };
  for (const [disk, id] of Object.entries(now)) {
    const old = disks[disk];
    if (old === undefined) throw new Error(`no disk ${disk}`);
    disks[disk] = { ...old, now: id };
    layers[id] = { disk, parent: below[disk] ?? null, base: null };
  }
  return { ...manifest, disks, layers };
}
