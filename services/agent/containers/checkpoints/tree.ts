import { StillpointError } from "#libs/errors";
import type { Container } from "../container.ts";
import type { CheckpointTree, ContainerCheckpoint } from "./tree-shape.ts";

const NO_TREE: CheckpointTree = { checkpoints: {}, head: null, generationId: "", pending: null, applying: null };

export function treeOf({ manifest }: Container): CheckpointTree {
  return manifest.tree ?? NO_TREE;
}

/** Changes the tree, on disk first. */
export async function saveTree(container: Container, change: (tree: CheckpointTree) => CheckpointTree): Promise<void> {
  await container.save((manifest) => ({ ...manifest, tree: change(manifest.tree ?? NO_TREE) }));
}

/** @throws StillpointError CHECKPOINT_NOT_FOUND */
export function checkpointOf(container: Container, uid: string): ContainerCheckpoint {
  const checkpoint = treeOf(container).checkpoints[uid];
  if (checkpoint !== undefined) return checkpoint;
  throw new StillpointError("CHECKPOINT_NOT_FOUND", `${container.name} has no checkpoint ${uid} on this host`);
}

/**
 * A checkpoint that can leave its container: the memory of processes goes on where it was taken alone.
 * @throws StillpointError CHECKPOINT_NOT_FOUND, CAPABILITY_MISSING
 */
export function withoutMemory(container: Container, uid: string) {
  const { kind, ...rest } = checkpointOf(container, uid);
  if (kind !== "standard") return { ...rest, kind };
  throw new StillpointError("CAPABILITY_MISSING", `checkpoint ${uid} of ${container.name} holds its memory`, {
    help: "Memory stays with its container and host: take a production checkpoint for copies.",
  });
}

/** With one more, which now goes on from. Pure. */
export function withTaken(tree: CheckpointTree, uid: string, checkpoint: ContainerCheckpoint): CheckpointTree {
  return {
    ...tree,
    checkpoints: { ...tree.checkpoints, [uid]: checkpoint },
    head: { checkpoint: uid, since: checkpoint.since },
    pending: null,
  };
}

/** Without some: what stood on them stands on the nearest one below that stays. Pure. */
export function withoutCheckpoints(tree: CheckpointTree, uids: readonly string[]): CheckpointTree {
  const staying = (uid: string | null): string | null =>
    uid !== null && uids.includes(uid) ? staying(tree.checkpoints[uid]?.parent ?? null) : uid;
  const kept = Object.entries(tree.checkpoints).filter(([uid]) => !uids.includes(uid));
  const checkpoints = Object.fromEntries(kept.map(([uid, it]) => [uid, { ...it, parent: staying(it.parent) }]));
  const head = staying(tree.head?.checkpoint ?? null);
  if (head === (tree.head?.checkpoint ?? null)) return { ...tree, checkpoints };
  // Now may have been put on another checkpoint since that one was taken; what changed then changed later still.
  const since = head === null ? undefined : checkpoints[head]?.since;
  return { ...tree, checkpoints, head: head === null || since === undefined ? null : { checkpoint: head, since } };
}
