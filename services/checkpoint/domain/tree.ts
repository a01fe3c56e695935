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

export function childrenOf<Node extends TreeNode>({ nodes }: Tree<Node>, uid: string): Node[] {
  return nodes.filter(({ parent }) => parent === uid);
}

/** How many lines go on from a checkpoint; *now* is one of them where it stands on it. */
export function branchCount(tree: Tree, uid: string): number {
  return childrenOf(tree, uid).length + (tree.head === uid ? 1 : 0);
}

/** The tree without a checkpoint: what stood on it stands on its parent. Deleting what is not there changes nothing. */
export function withoutNode<Node extends TreeNode>(tree: Tree<Node>, uid: string): Tree<Node> {
  const gone = tree.nodes.find((node) => node.uid === uid);
  if (gone === undefined) return tree;
  const moved = (parent: string) => (parent === uid ? gone.parent : parent);
  const nodes = tree.nodes.filter((node) => node !== gone).map((node) => ({ ...node, parent: moved(node.parent) }));
  return { nodes, head: moved(tree.head) };
}
