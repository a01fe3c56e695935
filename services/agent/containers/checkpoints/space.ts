import { mkdir, statfs } from "node:fs/promises";
import type { Container } from "../container.ts";
import { changedBytes } from "./files.ts";
import { treeOf } from "./tree.ts";
import type { TakenVolume } from "./volumes.ts";

/** Left free on the host. */
const RESERVE_BYTES = 64 * 2 ** 20;

/** Why there is no space for the copies of a checkpoint, in words; undefined when there is. */
export async function spaceShortage(
  container: Container,
  volumes: readonly TakenVolume[],
  signal: AbortSignal,
): Promise<string | undefined> {
  await mkdir(container.folder.checkpoints, { recursive: true, mode: 0o700 });
  const { neededBytes, freeBytes } = await spaceFor(container, volumes, signal);
  if (freeBytes >= neededBytes) return undefined;
  return `a checkpoint of ${container.name} may take ${neededBytes} bytes; ${freeBytes} are free`;
}

/** What a checkpoint may take of the host, and what is free there. */
export async function spaceFor(container: Container, volumes: readonly TakenVolume[], signal: AbortSignal) {
  const { head } = treeOf(container);
  let neededBytes = RESERVE_BYTES;
  for (const { files, basis } of volumes) {
    neededBytes += await changedBytes(files, basis === undefined ? 0 : (head?.since ?? 0), signal);
  }
  const { bavail, bsize } = await statfs(container.folder.root);
  return { neededBytes, freeBytes: bavail * bsize };
}
