import { readdir } from "node:fs/promises";
import type { Container } from "../container.ts";
import type { ContainerParts } from "../container-parts.ts";
import { finishApply } from "./apply.ts";
import { removeFiles, rollBack } from "./roll-back.ts";
import { treeOf } from "./tree.ts";
import { queueMissingDigests } from "./volume-digests.ts";

/** What an agent that died left half done: a paused container goes on, a take is taken back, an apply is finished. */
export async function settleCheckpoints(parts: ContainerParts, container: Container): Promise<void> {
  if (container.manifest.tree === undefined) return;
  await rollBack(parts, container);
  await finishApply(parts, container);
  const { checkpoints, receiving } = treeOf(container);
  const folders: string[] = await readdir(container.folder.checkpoints).catch(() => []);
  const strays = folders
    .map((name) => name.replace(/^\.tmp-/, ""))
    .filter((uid) => checkpoints[uid] === undefined && uid !== receiving);
  for (const uid of strays) await removeFiles(parts, container, uid);
  await queueMissingDigests(parts, container);
}
