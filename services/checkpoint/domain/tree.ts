/** One checkpoint in the tree of a workload. `parent` is a uid; empty at a root. */
export interface TreeNode {
  readonly uid: string;
  readonly parent: string;
}

/** The checkpoints of one workload, and `head`: the uid that *now* goes on from, empty before the first. */
export interface Tree<Node extends TreeNode = TreeNode> {
  readonly nodes: readonly Node[];
  readonly head: string;
}

/** A checkpoint and all that stand on it, each after the one it stands on; empty when there is no such checkpoint. */
export function subtreeOf<Node extends TreeNode>({ nodes }: Tree<Node>, uid: string): Node[] {
  const found = nodes.filter((node) => node.uid === uid);
  for (const { uid: parent } of found) found.push(...nodes.filter((node) => node.parent === parent));
  return found;
}

/**
 * The tree without some checkpoints: what stood on them, *now* too, stands on the nearest one below that stays.
 * Taking away what is not there changes nothing.
 */
export function withoutNodes<Node extends TreeNode>(
  { nodes, head }: Tree<Node>,
  uids: ReadonlySet<string>,
): Tree<Node> {
  const parents = new Map(nodes.filter(({ uid }) => uids.has(uid)).map(({ uid, parent }) => [uid, parent]));
  const staying = (uid: string): string => {
    const parent = parents.get(uid);
    return parent === undefined ? uid : staying(parent);
  };
  const kept = nodes.filter(({ uid }) => !uids.has(uid)).map((node) => ({ ...node, parent: staying(node.parent) }));
  return { nodes: kept, head: staying(head) };
}
