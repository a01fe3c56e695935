import { describe, expect, test } from "vitest";
import type { Manifest } from "../manifest.ts";
import { apply, fresh, take } from "../testing/layer-steps.ts";
import {
  changedByDown,
  hiddenLayers,
  type LayerMerge,
  possibleMerges,
  withMerged,
  withMergedDown,
} from "./layer-graph.ts";
import { chainOf, isNewest, nowLayers, withoutCheckpoints, withUntaken } from "./layer-tree.ts";

describe("the tree of layers", () => {
  test("a checkpoint freezes what was now and goes on above it", () => {
    const taken = take(fresh, "a");
    expect(taken).toMatchObject({
      head: "a",
      pending: null,
      checkpoints: { a: { parent: null, layers: { root: "r0" } } },
    });
    expect(chainOf(taken, "r-a")).toEqual(["r0", "r-a"]);
  });

  test("a disk that is left out goes on in its layer, and is left alone when the checkpoint is applied", () => {
    const taken = take(fresh, "a", true);
    expect(taken.checkpoints.a?.layers).toEqual({ root: "r0" });
    expect(nowLayers(apply(taken, "a", "x"))).toEqual({ root: "root-x", disk1: "d0" });
  });

  test("applying an earlier checkpoint branches the tree and drops what now had", () => {
    const branched = apply(take(take(fresh, "a"), "b"), "a", "x");
    expect(branched.head).toBe("a");
    expect(Object.keys(branched.layers)).not.toContain("r-b");
    expect(isNewest(branched, "a")).toBe(false);
    expect(isNewest(take(fresh, "a"), "a")).toBe(true);
  });

  test("a checkpoint that is taken back leaves its layers pending over the old ones", () => {
    const untaken = withUntaken(take(fresh, "a"), "a", "op");
    expect(untaken).toMatchObject({ head: null, checkpoints: {}, pending: { layers: { root: "r-a", disk1: "d-a" } } });
    expect(nowLayers(untaken)).toEqual({ root: "r0", disk1: "d0" });
  });

  test("one under two branches is hidden, and merged once a branch is gone", () => {
    const branched = take(apply(take(take(fresh, "a"), "b"), "a", "x"), "c");
    const hidden = withoutCheckpoints(branched, ["a"]);
    expect(hidden).toMatchObject({ checkpoints: { b: { parent: null }, c: { parent: null } } });
    expect(hiddenLayers(hidden).toSorted()).toEqual(["d0", "r0"]);
    expect(possibleMerges(hidden)).toEqual([]);
    const lonely = withoutCheckpoints(hidden, ["b"]);
    expect(possibleMerges(lonely)).toEqual([
      { disk: "root", run: ["r0"], into: "root-x" },
      { disk: "disk1", run: ["d0"], into: "disk1-x" },
    ]);
    expect(possibleMerges(lonely).reduce(withMerged, lonely).layers["root-x"]?.base).toBe("image");
  });

  test("unnamed layers in a row are merged at once, and a subtree goes as a whole", () => {
    const chain = take(take(take(fresh, "a"), "b"), "c");
    expect(possibleMerges(withoutCheckpoints(chain, ["a", "b"]))[0]).toEqual({
      disk: "root",
      run: ["r0", "r-a"],
      into: "r-b",
    });
    const gone = withoutCheckpoints(chain, ["a", "b", "c"]);
    expect(gone).toMatchObject({ head: null, checkpoints: {} });
    expect(possibleMerges(gone)[0]).toEqual({ disk: "root", run: ["r0", "r-a", "r-b"], into: "r-c" });
  });

  test("a run is merged down: its bottom layer is what the one above it was, to all that named it", () => {
    const [, middle] = removedIn(take(take(take(fresh, "a"), "b"), "c"), "a");
    expect(middle.checkpoints.b?.layers).toEqual({ root: "r0", disk1: "d0" });
    expect(chainOf(middle, "r-c")).toEqual(["r0", "r-b", "r-c"]);
    expect(middle.layers.r0?.base).toBe("image");
    const [merge, top] = removedIn(take(take(fresh, "a"), "b"), "a", "b");
    expect(nowLayers(top)).toEqual({ root: "r0", disk1: "d0" });
    expect(Object.keys(top.layers).toSorted()).toEqual(["d0", "r0"]);
    expect(withMergedDown(top, merge)).toEqual(top);
  });

  test("one on which two stand is not merged down", () => {
    const branched = apply(take(take(fresh, "a"), "b"), "b", "x");
    const [merge] = possibleMerges(withoutCheckpoints(take(branched, "c"), ["a"]));
    expect(merge).toEqual({ disk: "root", run: ["r0"], into: "r-a" });
    const twice = take(apply(take(branched, "c"), "b", "y"), "d");
    expect(merge && changedByDown(withoutCheckpoints(twice, ["a"]), merge)).toBeUndefined();
  });

  test("merging or forgetting twice changes nothing", () => {
    const forgotten = withoutCheckpoints(take(fresh, "a"), ["a"]);
    expect(withoutCheckpoints(forgotten, ["a"])).toEqual(forgotten);
    const [merge] = possibleMerges(forgotten);
    if (merge === undefined) throw new Error("there is nothing to merge");
    const once = withMerged(forgotten, merge);
    expect(withMerged(once, merge)).toEqual(once);
  });
});

/** Checkpoints are forgotten and all their layers merged down; and the first of these merges. */
function removedIn(manifest: Manifest, ...uids: string[]): [LayerMerge, Manifest] {
  const forgotten = withoutCheckpoints(manifest, uids);
  const merges = possibleMerges(forgotten);
  const [first] = merges;
  if (first === undefined) throw new Error("there is nothing to merge");
  return [first, merges.reduce(withMergedDown, forgotten)];
}
