import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { subtreeOf, type Tree, withoutNodes } from "./tree.ts";

//   a ─ b ─ c ─ now
//       └── d ─ e
const tree: Tree = {
  nodes: [
    { uid: "a", parent: "" },
    { uid: "b", parent: "a" },
    { uid: "c", parent: "b" },
    { uid: "d", parent: "b" },
    { uid: "e", parent: "d" },
  ],
  head: "c",
};
const without = (...uids: string[]) => {
  const { nodes, head } = withoutNodes(tree, new Set(uids));
  return [...nodes.map(({ uid, parent }) => `${uid}<${parent}`), `now<${head}`].join(" ");
};

describe("taking a checkpoint away", () => {
  test.each([
    { what: "the root", gone: ["a"], left: "b< c<b d<b e<d now<c" },
    { what: "one with two branches", gone: ["b"], left: "a< c<a d<a e<d now<c" },
    { what: "the one that now stands on", gone: ["c"], left: "a< b<a d<b e<d now<b" },
    { what: "a leaf", gone: ["e"], left: "a< b<a c<b d<b now<c" },
    { what: "two in a row, whatever the order", gone: ["c", "b"], left: "a< d<a e<d now<a" },
    { what: "all", gone: ["a", "b", "c", "d", "e"], left: "now<" },
    { what: "one that is not there", gone: ["x"], left: "a< b<a c<b d<b e<d now<c" },
  ])("$what", ({ gone, left }) => expect(without(...gone)).toBe(left));
});

test("a subtree is a checkpoint and all above it, parents first", () => {
  const subtree = (uid: string) => subtreeOf(tree, uid).map((node) => node.uid);
  expect(subtree("b")).toEqual(["b", "c", "d", "e"]);
  expect(subtree("e")).toEqual(["e"]);
  expect(subtree("x")).toEqual([]);
});

/** Trees in which every parent comes before its children. */
const trees = fc.array(fc.nat(), { minLength: 1, maxLength: 20 }).chain((choices) => {
  const nodes = choices.map((choice, index) => ({
    uid: `c${index}`,
    parent: choice % (index + 1) === index ? "" : `c${choice % (index + 1)}`,
  }));
  return fc.record({ nodes: fc.constant(nodes), head: fc.constantFrom(...nodes.map(({ uid }) => uid)) });
});

/** uids from a checkpoint down to its root. */
function lineOf({ nodes }: Tree, uid: string): string[] {
  const node = nodes.find((it) => it.uid === uid);
  return node === undefined ? [] : [uid, ...lineOf({ nodes, head: "" }, node.parent)];
}

test("what stays keeps its line but for what went, in whatever order and however often it goes", () => {
  fc.assert(
    fc.property(trees, fc.infiniteStream(fc.boolean()), (before, coins) => {
      const gone = before.nodes.filter(() => coins.next().value).map(({ uid }) => uid);
      const after = withoutNodes(before, new Set(gone));
      const left = (line: string[]) => line.filter((uid) => !gone.includes(uid));
      expect(lineOf(after, after.head)).toEqual(left(lineOf(before, before.head)));
      for (const { uid } of after.nodes) expect(lineOf(after, uid)).toEqual(left(lineOf(before, uid)));
      expect(after.nodes.map(({ uid }) => uid)).toEqual(left(before.nodes.map(({ uid }) => uid)));
      expect(withoutNodes(after, new Set(gone))).toEqual(after);
      const oneByOne = gone.reduce<Tree>((rest, uid) => withoutNodes(rest, new Set([uid])), before);
      expect(oneByOne).toEqual(after);
    }),
  );
});
