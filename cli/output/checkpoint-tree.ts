import type { Checkpoint } from "#contracts/checkpoint/v1/checkpoint";
import { consistency, kind } from "./checkpoints.ts";
import { printable } from "./printable.ts";
import { showTime } from "./units.ts";

interface Node {
  readonly uid: string;
  readonly text: string;
}

/** The tree of checkpoints, each under the one it came from, with `now` under `head` (a uid; "" before the first). */
export function showTree(checkpoints: readonly Checkpoint[], head: string): string {
  const known = new Set(checkpoints.map(({ uid }) => uid));
  // A parent that is not in the list (being deleted, say) makes its children roots, so that none is lost.
  const parentOf = (parent: string) => (known.has(parent) ? parent : "");
  const children = Map.groupBy(
    [
      ...checkpoints.map((each) => ({ parent: parentOf(each.parent), node: nodeOf(each) })),
      { parent: parentOf(head), node: now },
    ],
    ({ parent }) => parent,
  );
  const draw = (parent: string, indent: string): string[] =>
    (children.get(parent) ?? []).flatMap(({ node }, index, siblings) => {
      const isLast = index === siblings.length - 1;
      const line = `${indent}${isLast ? "└─ " : "├─ "}${node.text}`;
      // "now" has no uid of its own, and so no children.
      return [line, ...(node.uid === "" ? [] : draw(node.uid, `${indent}${isLast ? "   " : "│  "}`))];
    });
  return draw("", "").join("\n");
}

const now: Node = { uid: "", text: "now" };

const nodeOf = (checkpoint: Checkpoint): Node => ({
  uid: checkpoint.uid,
  text: `${printable(checkpoint.displayName)}  ${kind(checkpoint)}, ${consistency(checkpoint)}  ${showTime(checkpoint.createTime)}`,
});
