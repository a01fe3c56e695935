import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { branchCount, childrenOf, type Tree, withoutNode } from "./tree.ts";

const chain: Tree = {
  nodes: [
    { uid: "a", parent: "" },
    { uid: "b", parent: "a" },
    { uid: "c", parent: "b" },
  ],
  head: "c",
};

describe("a simple chain", () => {
  test("each checkpoint has one line that goes on from it", () => {
    expect(["a", "b", "c"].map((uid) => branchCount(chain, uid))).toEqual([1, 1, 1]);
  });
  test("deleting the middle joins its ends", () => {
    expect(withoutNode(chain, "b")).toEqual({
      nodes: [
        { uid: "a", parent: "" },
        { uid: "c", parent: "a" },
      ],
      head: "c",
    });
  });
  test("deleting the newest moves now to its parent", () => {
    expect(withoutNode(chain, "c").head).toBe("b");
  });
  test("deleting the root makes its child the root", () => {
    expect(withoutNode(chain, "a").nodes[0]).toEqual({ uid: "b", parent: "" });
  });
});

describe("a checkpoint that was applied", () => {
  const applied = { ...chain, head: "a" };
  test("has two branches: the older line and now", () => {
    expect(branchCount(applied, "a")).toBe(2);
  });
  test("the end of the older line has none", () => {
    expect(branchCount(applied, "c")).toBe(0);
  });
});

/** Trees in which every parent comes before its children. */
const trees = fc.array(fc.nat(), { minLength: 1, maxLength: 20 }).chain((choices) => {
  const nodes = choices.map((choice, index) => ({
    uid: `c${index}`,
    parent: choice % (index + 1) === index ? "" : `c${choice % (index + 1)}`,
  }));
  return fc.record({ nodes: fc.constant(nodes), head: fc.constantFrom(...nodes.map(({ uid }) => uid)) });
});

test("deleting keeps every other checkpoint, leaves no parent dangling and no line lost", () => {
  fc.assert(
    fc.property(trees, fc.nat(), (tree, choice) => {
      const { uid, parent } = tree.nodes[choice % tree.nodes.length] ?? { uid: "", parent: "" };
      const before = branchCount(tree, parent);
      const moved = branchCount(tree, uid);
      const after = withoutNode(tree, uid);
      const uids = new Set(after.nodes.map((node) => node.uid));
      expect(after.nodes).toHaveLength(tree.nodes.length - 1);
      for (const node of after.nodes) expect(node.parent === "" || uids.has(node.parent)).toBe(true);
      expect(after.head === "" || uids.has(after.head)).toBe(true);
      if (parent !== "") expect(branchCount(after, parent)).toBe(before - 1 + moved);
      expect(childrenOf(after, uid)).toEqual([]);
      expect(withoutNode(after, uid)).toEqual(after);
    }),
  );
});
