import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Manifest } from "../manifest.ts";
import {
  chainOf,
  checkpointOf,
  childrenOf,
  layersOf,
  nowLayers,
  onlyChildOf,
  withApplied,
  withMerged,
  withoutCheckpoint,
  withTaken,
  withUntaken,
} from "./layer-tree.ts";

const machine = { qemu: "7.2", machineType: "q35", cpu: "max", cpus: 1, memoryBytes: 1, disks: ["root", "disk1"] };

const fresh: Manifest = {
  version: 1,
  uid: "vm-1",
  owner: { operation: "op", epoch: 1 },
  machineType: "q35",
  generationId: "g",
  processUid: null,
  power: "off",
  disks: { root: { sizeBytes: 1, now: "r0" }, disk1: { sizeBytes: 1, now: "d0" } },
  layers: { r0: { disk: "root", parent: null }, d0: { disk: "disk1", parent: null } },
  checkpoints: {},
  head: null,
  pending: null,
};

function take(manifest: Manifest, uid: string): Manifest {
  const layers = { root: `r-${uid}`, disk1: `d-${uid}` };
  const pending = { operation: "op", checkpoint: uid, layers, ownStop: false };
  return withTaken({ ...manifest, pending }, { kind: "production", machine });
}

function apply(manifest: Manifest, uid: string, tag: string): Manifest {
  return withApplied(manifest, uid, { root: `r-${tag}`, disk1: `d-${tag}` });
}

function merge(manifest: Manifest, uid: string): Manifest {
  const child = onlyChildOf(manifest, uid);
  const into = child === undefined ? {} : layersOf(manifest, child);
  const merged = Object.entries(checkpointOf(manifest, uid).layers).reduce(
    (next, [disk, layer]) => (child === undefined ? next : withMerged(next, layer, into[disk] ?? "")),
    manifest,
  );
  return withoutCheckpoint(merged, uid);
}

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

  test("applying an earlier checkpoint branches the tree and drops what now had", () => {
    const branched = apply(take(take(fresh, "a"), "b"), "a", "x");
    expect(branched.head).toBe("a");
    expect(childrenOf(branched, "a")).toEqual([{ checkpoint: "b" }, { now: true }]);
    expect(Object.keys(branched.layers)).not.toContain("r-b");
    expect(() => onlyChildOf(branched, "a")).toThrowError(/2 branches/);
  });

  test("a checkpoint that is taken back leaves its layers pending over the old ones", () => {
    const untaken = withUntaken(take(fresh, "a"), "a", "op");
    expect(untaken).toMatchObject({ head: null, checkpoints: {}, pending: { layers: { root: "r-a", disk1: "d-a" } } });
    expect(nowLayers(untaken)).toEqual({ root: "r0", disk1: "d0" });
  });

  test("merging twice changes nothing more", () => {
    const once = withMerged(take(fresh, "a"), "r0", "r-a");
    expect(withMerged(once, "r0", "r-a")).toEqual(once);
  });
});

test("whatever is taken, applied and merged: every chain is whole, and no layer is left over", () => {
  const verbs = fc.array(fc.record({ verb: fc.constantFrom("take", "apply", "merge"), at: fc.nat() }), {
    maxLength: 40,
  });
  fc.assert(
    fc.property(verbs, (steps) => {
      const end = steps.reduce(act, fresh);
      const tops = [nowLayers(end), ...Object.values(end.checkpoints).map(({ layers }) => layers)];
      const used = new Set(tops.flatMap((layers) => Object.values(layers)).flatMap((top) => chainOf(end, top)));
      expect([...used].toSorted()).toEqual(Object.keys(end.layers).toSorted());
      if (end.head !== null) expect(end.checkpoints).toHaveProperty(end.head);
    }),
  );
});

function act(manifest: Manifest, { verb, at }: { verb: string; at: number }, step: number): Manifest {
  const uids = Object.keys(manifest.checkpoints);
  const uid = uids[at % Math.max(uids.length, 1)];
  if (verb === "take" || uid === undefined) return take(manifest, `c${step}`);
  if (verb === "apply") return apply(manifest, uid, `x${step}`);
  return childrenOf(manifest, uid).length > 1 ? manifest : merge(manifest, uid);
}
