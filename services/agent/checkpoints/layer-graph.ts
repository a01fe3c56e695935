import type { Manifest } from "../manifest.ts";

/**
 * The files of disks as a graph. A layer is *named* when a checkpoint, or now, has it as the top of a disk.
 * An unnamed layer on which nothing stands is not needed; one on which a single layer stands can be merged into that;
 * one that two or more need stays, hidden.
 */
export interface LayerMerge {
  readonly disk: string;
  /** Unnamed layers from the bottom up, on each of which one layer stands. */
  readonly run: readonly string[];
  /** What stands on the run: it takes in all that the run holds, and then stands on what the run stood on. */
  readonly into: string;
}

/** Every run of layers that can be merged, all of a run at once. */
export function possibleMerges(manifest: Manifest): LayerMerge[] {
  const isMergeable = mergeable(manifest);
  return Object.entries(manifest.layers).flatMap(([into, { disk, parent }]) => {
    if (isMergeable(into)) return [];
    const run: string[] = [];
    for (let id = parent; id !== null && isMergeable(id); id = manifest.layers[id]?.parent ?? null) run.unshift(id);
    return run.length === 0 ? [] : [{ disk, run, into }];
  });
}

/** The layers that stay although nobody names them. */
export function hiddenLayers(manifest: Manifest): string[] {
  const isMergeable = mergeable(manifest);
  const named = namedLayers(manifest);
  return Object.keys(manifest.layers).filter((id) => !named.has(id) && !isMergeable(id));
}

/** A run has been merged. Merging twice changes nothing. */
export function withMerged(manifest: Manifest, { run, into }: LayerMerge): Manifest {
  const bottom = manifest.layers[run[0] ?? ""];
  const top = manifest.layers[into];
  if (bottom === undefined || top === undefined) return manifest;
  const merged = { ...top, parent: bottom.parent, base: bottom.base };
  const left = Object.entries({ ...manifest.layers, [into]: merged }).filter(([id]) => !run.includes(id));
  return { ...manifest, layers: Object.fromEntries(left) };
}

/** A run has been merged down: its bottom layer is what the one above it was. Merging twice changes nothing. */
export function withMergedDown(manifest: Manifest, { run, into: top }: LayerMerge): Manifest {
  const [into] = run;
  const bottom = manifest.layers[into ?? ""];
  if (into === undefined || bottom === undefined || manifest.layers[top] === undefined) return manifest;
  const gone = new Set([...run.slice(1), top]);
  const moved = (layer: string) => (layer === top ? into : layer);
  const left = Object.entries(manifest.layers).filter(([id]) => !gone.has(id));
  const layers = left.map(([id, layer]) => [id, layer.parent === top ? { ...layer, parent: into } : layer] as const);
  const disks = Object.entries(manifest.disks).map(([disk, it]) => [disk, { ...it, now: moved(it.now) }] as const);
  const checkpoints = Object.entries(manifest.checkpoints).map(([uid, entry]) => {
    const tops = Object.entries(entry.layers).map(([disk, layer]) => [disk, moved(layer)] as const);
    return [uid, { ...entry, layers: Object.fromEntries(tops) }] as const;
  });
  return {
    ...manifest,
    disks: Object.fromEntries(disks),
    layers: Object.fromEntries(layers),
    checkpoints: Object.fromEntries(checkpoints),
  };
}

/** A disk is again as it was; other disks may have been merged since. */
export function withDiskOf(manifest: Manifest, before: Manifest, disk: string): Manifest {
  const layersWhere = (of: Manifest, isOwn: boolean) =>
    Object.entries(of.layers).filter(([, layer]) => (layer.disk === disk) === isOwn);
  const was = before.disks[disk];
  const checkpoints = Object.entries(manifest.checkpoints).map(([uid, entry]) => {
    const top = before.checkpoints[uid]?.layers[disk];
    return [uid, top === undefined ? entry : { ...entry, layers: { ...entry.layers, [disk]: top } }] as const;
  });
  return {
    ...manifest,
    disks: was === undefined ? manifest.disks : { ...manifest.disks, [disk]: was },
    layers: Object.fromEntries([...layersWhere(manifest, false), ...layersWhere(before, true)]),
    checkpoints: Object.fromEntries(checkpoints),
  };
}

/**
 * The layers whose files a merge down changes: the run's bottom, and the one that stands on what the run is merged
 * with. Undefined where more than one does: then it can only be merged up.
 */
export function changedByDown(manifest: Manifest, { run, into }: LayerMerge): string[] | undefined {
  const above = standingOn(manifest, into);
  return above.length > 1 ? undefined : [...run.slice(0, 1), ...above];
}

/** The layers that stand directly on one. */
export function standingOn({ layers }: Manifest, below: string): string[] {
  return Object.keys(layers).filter((id) => layers[id]?.parent === below);
}

/** Without the layers that are not named and on which nothing stands, however long their chains are. */
export function withoutUnneeded(manifest: Manifest): Manifest {
  const needed = new Set<string>();
  for (const top of namedLayers(manifest)) {
    for (let id: string | null = top; id !== null && !needed.has(id); id = manifest.layers[id]?.parent ?? null) {
      needed.add(id);
    }
  }
  const layers = Object.fromEntries(Object.entries(manifest.layers).filter(([id]) => needed.has(id)));
  return { ...manifest, layers };
}

/** How many layers stand on each. */
export function dependants({ layers }: Manifest): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { parent } of Object.values(layers)) {
    if (parent !== null) counts.set(parent, (counts.get(parent) ?? 0) + 1);
  }
  return counts;
}

function namedLayers({ disks, checkpoints }: Manifest): Set<string> {
  const entries = Object.values(checkpoints).flatMap(({ layers }) => Object.values(layers));
  return new Set([...Object.values(disks).map(({ now }) => now), ...entries]);
}

function mergeable(manifest: Manifest): (layer: string) => boolean {
  const named = namedLayers(manifest);
  const standing = dependants(manifest);
  return (layer) => !named.has(layer) && standing.get(layer) === 1;
}
