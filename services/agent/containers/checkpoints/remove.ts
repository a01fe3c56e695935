import type { DiscardCheckpoint, RemoveCheckpoints } from "#contracts/host/v1/agent";
import { failpoint } from "#libs/failpoints";
import type { Container } from "../container.ts";
import type { ContainerParts } from "../container-parts.ts";
import { removeFiles, rollBack } from "./roll-back.ts";
import { saveTree, treeOf, withoutCheckpoints } from "./tree.ts";

/** Forgets checkpoints, in any position; those that are gone are passed over. Each stands for itself on the disk. */
export async function removeCheckpoints(
  parts: ContainerParts,
  container: Container,
  { checkpointUids }: RemoveCheckpoints,
): Promise<void> {
  const known = checkpointUids.filter((uid) => treeOf(container).checkpoints[uid] !== undefined);
  if (known.length > 0) await saveTree(container, (tree) => withoutCheckpoints(tree, known));
  await failpoint("agent.remove-checkpoints.forgotten");
  for (const uid of known) await removeFiles(parts, container, uid);
}

/** Takes a checkpoint back, or a take that was not finished. */
export async function discardCheckpoint(
  parts: ContainerParts,
  container: Container,
  { checkpointUid }: DiscardCheckpoint,
): Promise<void> {
  await rollBack(parts, container);
  if (treeOf(container).receiving === checkpointUid) {
    await removeFiles(parts, container, checkpointUid);
    await saveTree(container, ({ receiving: _given, ...tree }) => tree);
  }
  await removeCheckpoints(parts, container, { checkpointUids: [checkpointUid] });
}
