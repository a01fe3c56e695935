import { join } from "node:path";
import { StillpointError } from "#libs/errors";
import type { Container } from "../container.ts";
import type { ContainerParts } from "../container-parts.ts";
import { volumeName, volumesOf } from "../recipe.ts";
import { treeOf } from "./tree.ts";

/** A volume that a checkpoint holds. */
export interface TakenVolume {
  readonly id: string;
  /** Its files with the engine. */
  readonly files: string;
  /** The copy of it in the unfinished checkpoint. */
  readonly copy: string;
  /** The copy of it in the checkpoint that now goes on from; undefined when that has none. */
  readonly basis: string | undefined;
}

/** A volume, or a folder of the host, that stays out of a checkpoint. */
export interface LeftOut {
  readonly id: string;
  readonly why: string;
}

export function unfinishedFolder({ folder }: Container, checkpointUid: string): string {
  return join(folder.checkpoints, `.tmp-${checkpointUid}`);
}

export function checkpointFolder({ folder }: Container, checkpointUid: string): string {
  return join(folder.checkpoints, checkpointUid);
}

/** The memory of its processes in a checkpoint's folder. */
export function memoryIn(folder: string): string {
  return join(folder, "memory");
}

/** The copy of a volume in a checkpoint's folder. */
export function volumeCopy(folder: string, volume: string): string {
  return join(folder, "volumes", volume);
}

/** What takes part in a checkpoint, and what does not. @throws StillpointError ARGUMENT_INVALID for an unknown volume */
export async function sortVolumes(
  parts: ContainerParts,
  container: Container,
  { checkpointUid, excluded }: { readonly checkpointUid: string; readonly excluded: readonly string[] },
): Promise<{ readonly taken: readonly TakenVolume[]; readonly leftOut: readonly LeftOut[] }> {
  const all = await volumesIn(parts, container);
  const unknown = excluded.find((id) => !all.some((volume) => volume.id === id));
  if (unknown !== undefined) {
    throw new StillpointError("ARGUMENT_INVALID", `${container.name} has no volume ${unknown}`);
  }
  const folder = unfinishedFolder(container, checkpointUid);
  const taken: TakenVolume[] = [];
  const leftOut: LeftOut[] = hostPaths(container);
  for (const { id, isExcluded } of all) {
    if (isExcluded) leftOut.push({ id, why: "the container leaves it out" });
    else if (excluded.includes(id)) leftOut.push({ id, why: "it was asked to be left out" });
    else {
      const files = await volumeFiles(parts, container, id);
      taken.push({ id, files, copy: volumeCopy(folder, id), basis: basisOf(container, id) });
    }
  }
  return { taken, leftOut };
}

function basisOf(container: Container, id: string): string | undefined {
  const { head, checkpoints } = treeOf(container);
  if (head === null || checkpoints[head.checkpoint]?.volumes.includes(id) !== true) return undefined;
  return volumeCopy(checkpointFolder(container, head.checkpoint), id);
}

/** Where a volume's files lie on the host. */
export async function volumeFiles({ engine }: ContainerParts, { uid }: Container, id: string): Promise<string> {
  const files = await engine.volumePath(volumeName(uid, id));
  if (files !== undefined) return files;
  throw new StillpointError("ENGINE_FAILED", `the container engine has lost the volume ${id} of ${uid}`);
}

async function volumesIn({ images }: ContainerParts, { definition: { spec }, manifest }: Container) {
  const contents = await images.find(manifest.image);
  if (spec === undefined || contents === undefined) return [];
  return volumesOf(spec, contents);
}

function hostPaths({ definition: { spec } }: Container): LeftOut[] {
  const why = "it is a folder of the host";
  return (spec?.volumes ?? []).flatMap(({ hostPath }) => (hostPath === "" ? [] : [{ id: hostPath, why }]));
}
