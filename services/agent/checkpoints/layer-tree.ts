import { StillpointError } from "#libs/errors";
import type { CheckpointEntry, Manifest } from "../manifest.ts";

/** What stands on a checkpoint: another checkpoint, or the VM as it goes on. */
export type Child = { readonly now: true } | { readonly checkpoint: string };

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

export function childrenOf(manifest: Manifest, uid: string): Child[] {
  const checkpoints = Object.entries(manifest.checkpoints)
    .filter(([, entry]) => entry.parent === uid)
    .map(([checkpoint]) => ({ checkpoint }));
  return manifest.head === uid ? [...checkpoints, { now: true }] : checkpoints;
}

/** The one child of a checkpoint; undefined for a leaf. @throws StillpointError CHECKPOINT_HAS_BRANCHES */
export function onlyChildOf(manifest: Manifest, uid: string): Child | undefined {
  const [child, ...others] = childrenOf(manifest, uid);
  if (others.length === 0) return child;
  throw new StillpointError(
    "CHECKPOINT_HAS_BRANCHES",
    `${others.length + 1} branches stand on checkpoint ${uid}; its layers cannot be merged into more than one`,
  );
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

/** The layers of a child, by disk. */
export function layersOf(manifest: Manifest, child: Child): Readonly<Record<string, string>> {
  return "now" in child ? nowLayers(manifest) : checkpointOf(manifest, child.checkpoint).layers;
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

/** The newest checkpoint becomes pending again, so that it can be rolled back. */
export function withUntaken(manifest: Manifest, uid: string, operation: string): Manifest {
  const { [uid]: entry, ...checkpoints } = manifest.checkpoints;
  if (entry === undefined) return manifest;
  const layers = Object.fromEntries(Object.entries(nowLayers(manifest)).filter(([disk]) => disk in entry.layers));
  const kept = Object.fromEntries(
    Object.entries(manifest.layers).filter(([id]) => !Object.values(layers).includes(id)),
  );
  const disks = Object.fromEntries(
    Object.entries(manifest.disks).map(([disk, old]) => [disk, { ...old, now: entry.layers[disk] ?? old.now }]),
  );
  const pending = { operation, checkpoint: uid, layers, ownStop: false };
  return { ...manifest, disks, layers: kept, checkpoints, head: entry.parent, pending };
}

/** Now goes on from a checkpoint in new layers; the layers that now had of these disks are gone. */
export function withApplied(manifest: Manifest, uid: string, layers: Readonly<Record<string, string>>): Manifest {
  const discarded = new Set(Object.keys(layers).map((disk) => manifest.disks[disk]?.now));
  const kept = Object.fromEntries(Object.entries(manifest.layers).filter(([id]) => !discarded.has(id)));
  return { ...withNow({ ...manifest, layers: kept }, layers, checkpointOf(manifest, uid).layers), head: uid };
}

/** A disk's layer has been merged into the one above it. Merging twice changes nothing. */
export function withMerged(manifest: Manifest, merged: string, into: string): Manifest {
  const { [merged]: gone, ...layers } = manifest.layers;
  if (gone === undefined) return manifest;
  return { ...manifest, layers: { ...layers, [into]: { disk: gone.disk, parent: gone.parent } } };
}

/** A checkpoint whose layers are merged, or on which nothing stands, is forgotten; its children move to its parent. */
export function withoutCheckpoint(manifest: Manifest, uid: string): Manifest {
  const { [uid]: gone, ...rest } = manifest.checkpoints;
  if (gone === undefined) return manifest;
  const checkpoints = Object.fromEntries(
    Object.entries(rest).map(([id, entry]) => [id, entry.parent === uid ? { ...entry, parent: gone.parent } : entry]),
  );
  const named = new Set(Object.values(gone.layers));
  const used = new Set([...Object.values(manifest.layers).map((layer) => layer.parent), ...liveLayers(manifest, rest)]);
  const layers = Object.fromEntries(Object.entries(manifest.layers).filter(([id]) => !named.has(id) || used.has(id)));
  return { ...manifest, checkpoints, layers, head: manifest.head === uid ? gone.parent : manifest.head };
}

function liveLayers(manifest: Manifest, checkpoints: Manifest["checkpoints"]): string[] {
  return [...Object.values(nowLayers(manifest)), ...Object.values(checkpoints).flatMap((c) => Object.values(c.layers))];
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
    layers[id] = { disk, parent: below[disk] ?? null };
  }
  return { ...manifest, disks, layers };
}

function layerOf(manifest: Manifest, id: string): Manifest["layers"][string] {
  const layer = manifest.layers[id];
  if (layer === undefined) throw new StillpointError("CHECKPOINT_DAMAGED", `layer ${id} is not in the manifest`);
  return layer;
}
