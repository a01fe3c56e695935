import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Manifest } from "../manifest.ts";
import { dependants, hiddenLayers, type LayerMerge, possibleMerges, withMerged } from "./layer-graph.ts";
import { chainOf, isNewest, nowLayers, withApplied, withoutCheckpoints, withTaken, withUntaken } from "./layer-tree.ts";

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
  layers: { r0: { disk: "root", parent: null, base: "image" }, d0: { disk: "disk1", parent: null, base: null } },
  checkpoints: {},
  head: null,
  pending: null,
};

function take(manifest: Manifest, uid: string, excluded = false): Manifest {
  const layers = { root: `r-${uid}`, ...(!excluded && { disk1: `d-${uid}` }) };
  const pending = { operation: "op", checkpoint: uid, layers, ownStop: false };
  return withTaken({ ...manifest, pending }, { kind: "production", machine });
}

function apply(manifest: Manifest, uid: string, tag: string): Manifest {
  const held = Object.keys(manifest.checkpoints[uid]?.layers ?? {});
  return withApplied(manifest, uid, Object.fromEntries(held.map((disk) => [disk, `${disk}-${tag}`])));
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

  test("merging or forgetting twice changes nothing", () => {
    const forgotten = withoutCheckpoints(take(fresh, "a"), ["a"]);
    expect(withoutCheckpoints(forgotten, ["a"])).toEqual(forgotten);
    const [merge] = possibleMerges(forgotten);
    if (merge === undefined) throw new Error("there is nothing to merge");
    const once = withMerged(forgotten, merge);
    expect(withMerged(once, merge)).toEqual(once);
  });
});

/** What lies in the files, block by block: a model of the disks beside the manifest. */
interface Host {
  manifest: Manifest;
  readonly files: Map<string, Map<number, string>>;
  /** What each checkpoint's disks must hold for ever. */
  readonly promised: Map<string, Readonly<Record<string, string>>>;
}

const verbs = fc.array(
  fc.record({
    verb: fc.constantFrom("write", "write", "take", "take", "apply", "remove", "merge"),
    at: fc.nat(),
    excluded: fc.boolean(),
  }),
  { maxLength: 60 },
);

test("whatever is taken, applied, removed and merged: every checkpoint keeps its content, and nothing is left over", () => {
  fc.assert(
    fc.property(verbs, (steps) => {
      const host: Host = { manifest: fresh, files: new Map(), promised: new Map() };
      for (const [step, { verb, at, excluded }] of steps.entries()) {
        act(host, verb, `${step}`, at, excluded);
        expectKept(host);
      }
      for (const merge of allMerges(host)) mergeFiles(host, merge);
      expectKept(host);
      expectTidy(host.manifest);
    }),
    { numRuns: 500 },
  );
});

function act(host: Host, verb: string, step: string, at: number, excluded: boolean): void {
  const uids = Object.keys(host.manifest.checkpoints);
  const uid = uids[at % Math.max(uids.length, 1)];
  if (verb === "write") writeNow(host, at, step);
  else if (verb === "take" || uid === undefined) takeOn(host, `c${step}`, excluded);
  else if (verb === "apply") applyOn(host, uid, step);
  else if (verb === "remove") removeOn(host, at % 3 === 0 ? uids.slice(0, 2) : [uid]);
  else for (const merge of possibleMerges(host.manifest).slice(0, 1)) mergeFiles(host, merge);
}

function takeOn(host: Host, uid: string, excluded: boolean): void {
  host.manifest = take(host.manifest, uid, excluded);
  const { layers = {} } = host.manifest.checkpoints[uid] ?? {};
  host.promised.set(
    uid,
    mapValues(layers, (top) => content(host, top)),
  );
}

function applyOn(host: Host, uid: string, step: string): void {
  host.manifest = apply(host.manifest, uid, step);
  const now = nowLayers(host.manifest);
  for (const [disk, text] of Object.entries(host.promised.get(uid) ?? {})) {
    expect(content(host, now[disk] ?? "")).toBe(text);
  }
}

function removeOn(host: Host, uids: readonly string[]): void {
  host.manifest = withoutCheckpoints(host.manifest, uids);
  for (const uid of uids) host.promised.delete(uid);
}

function writeNow(host: Host, at: number, text: string): void {
  const now = nowLayers(host.manifest)[at % 2 === 0 ? "root" : "disk1"] ?? "";
  expect(dependants(host.manifest).get(now)).toBeUndefined();
  blocks(host, now).set(at % 7, text);
}

/** As QEMU does it: what the run holds and the layer above does not is copied up; each file of the run has one user. */
function mergeFiles(host: Host, merge: LayerMerge): void {
  const before = content(host, merge.into);
  const into = blocks(host, merge.into);
  for (const layer of merge.run.toReversed()) {
    expect(dependants(host.manifest).get(layer)).toBe(1);
    for (const [at, text] of blocks(host, layer)) if (!into.has(at)) into.set(at, text);
  }
  host.manifest = withMerged(host.manifest, merge);
  for (const layer of merge.run) host.files.delete(layer);
  expect(content(host, merge.into)).toBe(before);
}

function* allMerges(host: Host): Generator<LayerMerge> {
  for (let [merge] = possibleMerges(host.manifest); merge !== undefined; [merge] = possibleMerges(host.manifest)) {
    yield merge;
  }
}

function expectKept(host: Host): void {
  for (const [uid, kept] of host.promised) {
    const { layers = {} } = host.manifest.checkpoints[uid] ?? {};
    expect(mapValues(layers, (top) => content(host, top))).toEqual(kept);
  }
}

/** No layer without a name has less than two others on it, and each is reached from a top. */
function expectTidy(manifest: Manifest): void {
  const tops = [nowLayers(manifest), ...Object.values(manifest.checkpoints).map(({ layers }) => layers)];
  const named = new Set(tops.flatMap((layers) => Object.values(layers)));
  const used = new Set([...named].flatMap((top) => chainOf(manifest, top)));
  expect([...used].toSorted()).toEqual(Object.keys(manifest.layers).toSorted());
  const counts = dependants(manifest);
  for (const id of used) if (!named.has(id)) expect(counts.get(id)).toBeGreaterThan(1);
  if (manifest.head !== null) expect(manifest.checkpoints).toHaveProperty(manifest.head);
  for (const { parent } of Object.values(manifest.checkpoints)) {
    if (parent !== null) expect(manifest.checkpoints).toHaveProperty(parent);
  }
}

function content(host: Host, top: string): string {
  const merged = new Map(chainOf(host.manifest, top).flatMap((layer) => [...blocks(host, layer)]));
  return JSON.stringify([...merged].toSorted(([a], [b]) => a - b));
}

function blocks({ files }: Host, layer: string): Map<number, string> {
  const found = files.get(layer) ?? new Map<number, string>();
  files.set(layer, found);
  return found;
}

function mapValues(record: Readonly<Record<string, string>>, map: (value: string) => string): Record<string, string> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value)]));
}
