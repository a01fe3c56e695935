import { StillpointError } from "#libs/errors";
import type { Container } from "../container.ts";

/** A checkpoint of a container that is whole in its folder. */
export interface ContainerCheckpoint {
  readonly kind: "production" | "offline";
  /** uid of the checkpoint it stands on, for lineage and for what both have in common; null at a root. */
  readonly parent: string | null;
  /** Its writable layer over its image, as the engine knows it. */
  readonly image: string;
  readonly volumes: readonly string[];
  /** Files that have changed at or after it may differ from their copies; milliseconds since 1970. */
  readonly since: number;
  /** The operation that took it. */
  readonly operation: string;
}

/** A take that has begun: nothing of it is kept unless it becomes a checkpoint. */
export interface PendingTake {
  readonly checkpoint: string;
  readonly operation: string;
  /** The container stands still, or is about to, because of it. */
  readonly isPaused: boolean;
}

/** An apply that has passed the point of no return: it is finished by whoever finds it. */
export interface PendingApply {
  readonly checkpoint: string;
  readonly generationId: string;
  /** The volumes whose copies lie beside them. */
  readonly volumes: readonly string[];
}

/** What a container's manifest knows of its checkpoints. */
export interface CheckpointTree {
  readonly checkpoints: Readonly<Record<string, ContainerCheckpoint>>;
  /** The checkpoint that now goes on from, and from when on files may differ from it; null before the first. */
  readonly head: { readonly checkpoint: string; readonly since: number } | null;
  readonly generationId: string;
  readonly pending: PendingTake | null;
  readonly applying: PendingApply | null;
}

export const NO_TREE: CheckpointTree = { checkpoints: {}, head: null, generationId: "", pending: null, applying: null };

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
