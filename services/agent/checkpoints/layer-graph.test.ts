import fc from "fast-check";
import { expect, test } from "vitest";
import type { Manifest } from "../manifest.ts";
import { apply, fresh, take } from "../testing/layer-steps.ts";
import {
  changedByDown,
  dependants,
  type LayerMerge,
  possibleMerges,
  withDiskOf,
  withMerged,
  withMergedDown,
} from "./layer-graph.ts";
import { chainOf, nowLayers, withoutCheckpoints } from "./layer-tree.ts";

/** What lies in the files, block by block: a model of the disks beside the manifest. */
interface Host {
  manifest: Manifest;
  readonly files: Map<string, Map<number, string>>;
  /** What each checkpoint's disks must hold for ever. */
  readonly promised: Map<string, Readonly<Record<string, string>>>;
  /** Files that another workload has too, as they must stay. */
  readonly shared: Map<string, string>;
}

const verbs = fc.array(
  fc.record({
    verb: fc.constantFrom("write", "write", "take", "take", "apply", "remove", "share", "merge", "down"),
    at: fc.nat(),
    excluded: fc.boolean(),
  }),
  { maxLength: 60 },
);

test("whatever is taken, applied, removed and merged: every checkpoint keeps its content, and nothing is left over", () => {
  fc.assert(
    fc.property(verbs, fc.boolean(), (steps, isDownFirst) => {
      const host: Host = { manifest: fresh, files: new Map(), promised: new Map(), shared: new Map() };
      for (const [step, { verb, at, excluded }] of steps.entries()) {
        act(host, verb, `${step}`, at, excluded);
        expectKept(host);
      }
      host.shared.clear();
      let isDown = isDownFirst;
      for (const merge of allMerges(host)) {
        (isDown && changedByDown(host.manifest, merge) !== undefined ? mergeDownFiles : mergeFiles)(host, merge);
        isDown = !isDown;
      }
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
  else if (verb === "merge" || verb === "down") mergeOne(host, verb === "down");
  else if (verb === "take" || uid === undefined) takeOn(host, `c${step}`, excluded);
  else if (verb === "apply") applyOn(host, uid, step);
  else if (verb === "share") share(host, uid);
  else removeOn(host, at % 3 === 0 ? uids.slice(0, 2) : [uid]);
}

/** As the agent chooses, but for the sizes. */
function mergeOne(host: Host, isDown: boolean): void {
  const [merge, ...others] = possibleMerges(host.manifest);
  if (merge === undefined) return;
  const other = others.find(({ disk }) => disk !== merge.disk);
  const beside = (manifest: Manifest) => (other === undefined ? manifest : withMerged(manifest, other));
  const takenBack = withDiskOf(beside(withMergedDown(host.manifest, merge)), host.manifest, merge.disk);
  expect(takenBack).toEqual(beside(host.manifest));
  const changed = isDown ? changedByDown(host.manifest, merge) : [merge.into];
  if (changed === undefined || changed.some((layer) => host.shared.has(layer))) return;
  (isDown ? mergeDownFiles : mergeFiles)(host, merge);
}

/** A linked clone is made. */
function share(host: Host, uid: string): void {
  for (const top of Object.values(host.manifest.checkpoints[uid]?.layers ?? {})) {
    for (const layer of chainOf(host.manifest, top)) host.shared.set(layer, JSON.stringify([...blocks(host, layer)]));
  }
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

/**
 * As QEMU does it: what the layers above the bottom one hold is copied down, block by block; until the last is copied
 * the old chain reads the same, and then the new one does too.
 */
function mergeDownFiles(host: Host, merge: LayerMerge): void {
  const [bottom = "", ...upper] = merge.run;
  expect(dependants(host.manifest).get(bottom)).toBe(1);
  const before = content(host, merge.into);
  for (const layer of [...upper, merge.into]) {
    for (const [at, text] of blocks(host, layer)) {
      blocks(host, bottom).set(at, text);
      expect(content(host, merge.into)).toBe(before);
    }
  }
  const above = dependants(host.manifest).get(merge.into) ?? 0;
  host.manifest = withMergedDown(host.manifest, merge);
  for (const layer of [...upper, merge.into]) host.files.delete(layer);
  expect(content(host, bottom)).toBe(before);
  expect(dependants(host.manifest).get(bottom) ?? 0).toBe(above);
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
  for (const [layer, kept] of host.shared) {
    if (host.manifest.layers[layer] !== undefined) expect(JSON.stringify([...blocks(host, layer)])).toBe(kept);
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
