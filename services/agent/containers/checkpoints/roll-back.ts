import { rm } from "node:fs/promises";
import type { Container } from "../container.ts";
import type { ContainerParts } from "../container-parts.ts";
import { heldTakes } from "./held.ts";
import { imageRepository, unpause } from "./paused-take.ts";
import { saveTree, treeOf } from "./tree.ts";
import { checkpointFolder, unfinishedFolder } from "./volumes.ts";

/** The name in a container's repository that keeps the image which now goes on from. */
export const NOW = "now";

/** Takes a take back that did not become a checkpoint; a container that it had paused goes on first of all. */
export async function rollBack(parts: ContainerParts, container: Container): Promise<void> {
  const held = heldTakes.get(container);
  if (held !== undefined) await held.take?.end();
  heldTakes.delete(container);
  const { pending } = treeOf(container);
  if (pending === null) return;
  if (pending.isPaused) await unpause(parts, container);
  await removeFiles(parts, container, pending.checkpoint);
  await saveTree(container, (tree) => ({ ...tree, pending: null }));
}

/** Removes the files and the image of a checkpoint that no manifest names any more. */
export async function removeFiles(parts: ContainerParts, container: Container, checkpointUid: string): Promise<void> {
  await parts.engine.images.remove(`${imageRepository(container.uid)}:${checkpointUid}`);
  for (const folder of [unfinishedFolder(container, checkpointUid), checkpointFolder(container, checkpointUid)]) {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Removes all images that are a container's checkpoints; to be called when the engine has the container no more. */
export async function removeImages({ engine }: ContainerParts, container: Container): Promise<void> {
  const { checkpoints, pending, receiving } = treeOf(container);
  const unfinished = [pending?.checkpoint, receiving].filter((uid) => uid !== undefined);
  for (const tag of [NOW, ...Object.keys(checkpoints), ...unfinished]) {
    await engine.images.remove(`${imageRepository(container.uid)}:${tag}`);
  }
}
