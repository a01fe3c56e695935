import type { Checkpoint } from "#contracts/checkpoint/v1/checkpoint";
import { consistency, kind, proven } from "./checkpoints.ts";
import { renderTable } from "./table.ts";
import { showAge, showBytes } from "./units.ts";

const headings = ["NAME", "KIND", "CONSISTENCY", "AGE", "SIZE", "WITH BELOW", "PROTECTED", "PROVEN"];

interface Node {
  readonly uid: string;
  readonly name: string;
  readonly facts: readonly string[];
}

/**
 * The tree of checkpoints, each under the one it came from, with `now` under `head` (a uid; "" before the first).
 * WITH BELOW is the size of a checkpoint together with all that it stands on but the image.
 */
export function showTree(checkpoints: readonly Checkpoint[], head: string, time: Date): string {
  const known = new Set(checkpoints.map(({ uid }) => uid));
  // A parent that is not in the list (being deleted, say) makes its children roots, so that none is lost.
  const parentOf = (parent: string) => (known.has(parent) ? parent : "");
  const children = Map.groupBy(
    [
      ...checkpoints.map((each) => ({ parent: parentOf(each.parent), node: nodeOf(each, time) })),
      { parent: parentOf(head), node: now },
    ],
    ({ parent }) => parent,
  );
  const draw = (parent: string, indent: string): string[][] =>
    (children.get(parent) ?? []).flatMap(({ node }, index, siblings) => {
      const isLast = index === siblings.length - 1;
      const row = [`${indent}${isLast ? "└─ " : "├─ "}${node.name}`, ...node.facts];
      // "now" has no uid of its own, and so no children.
      return [row, ...(node.uid === "" ? [] : draw(node.uid, `${indent}${isLast ? "   " : "│  "}`))];
    });
  return renderTable(headings, draw("", ""));
}

const now: Node = { uid: "", name: "now", facts: [] };

const nodeOf = (checkpoint: Checkpoint, time: Date): Node => ({
  uid: checkpoint.uid,
  name: checkpoint.displayName,
  facts: [
    kind(checkpoint),
    consistency(checkpoint),
    showAge(checkpoint.createTime, time),
    showBytes(checkpoint.sizeBytes),
    showBytes(checkpoint.cumulativeBytes),
    checkpoint.protected ? "yes" : "",
    proven(checkpoint, time),
  ],
});
