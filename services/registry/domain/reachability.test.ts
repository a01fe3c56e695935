import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ManifestParts, type RepositoryState, reachable } from "./reachability.ts";

const state = (
  manifests: Readonly<Record<string, Partial<ManifestParts>>>,
  tags: Readonly<Record<string, string>>,
  pushing: readonly string[] = [],
): RepositoryState => ({
  tags: new Map(Object.entries(tags)),
  manifests: new Map(Object.entries(manifests).map(([id, parts]) => [id, { blobs: [], manifests: [], ...parts }])),
  pushing: new Set(pushing),
});

const reasons = (...of: Parameters<typeof state>) =>
  Object.fromEntries(
    [...reachable(state(...of))].map(([digest, { kind, by, isLasting }]) => [
      digest,
      `${kind} ${by}${isLasting ? "" : " (untagged)"}`.trim(),
    ]),
  );

describe("what is kept", () => {
  test("children of an index, with their blobs", () => {
    expect(
      reasons(
        { index: { manifests: ["amd64", "arm64"] }, amd64: { blobs: ["a"] }, arm64: { blobs: ["b"] } },
        { v1: "index" },
      ),
    ).toEqual({ index: "tag v1", amd64: "child index", arm64: "child index", a: "blob amd64", b: "blob arm64" });
  });

  test("referrers of what is kept, and what they refer to in turn", () => {
    expect(
      reasons(
        { image: {}, receipt: { subject: "image", blobs: ["r"] }, signature: { subject: "receipt" } },
        { v1: "image" },
      ),
    ).toEqual({ image: "tag v1", receipt: "referrer image", r: "blob receipt", signature: "referrer receipt" });
  });

  test("the lineage of a tagged checkpoint, where it is there", () => {
    expect(
      reasons({ third: { subject: "second" }, second: { subject: "first", blobs: ["b"] } }, { now: "third" }),
    ).toEqual({ third: "tag now", second: "lineage third", b: "blob second" });
  });

  test("what a push is about to refer to", () => {
    expect(reasons({ image: { blobs: ["a"] } }, {}, ["image", "b"])).toEqual({
      ...{ image: "push", a: "blob image", b: "push" },
    });
  });

  test("what an untagged manifest needs, as long as it is there; itself has no reason", () => {
    expect(reasons({ old: { manifests: ["child"], blobs: ["x"] }, child: { blobs: ["y"] } }, {})).toEqual({
      ...{ child: "child old (untagged)", x: "blob old (untagged)", y: "blob child (untagged)" },
    });
  });

  test("nothing without a tag, not even what refers to each other", () => {
    expect(reasons({ a: { subject: "b" }, b: { subject: "a" } }, {})).toEqual({});
  });
});

test("whatever is there and has not lost its own reason keeps all its parts", () => {
  const id = fc.integer({ min: 0, max: 9 }).map((n) => `m${n}`);
  const blob = fc.integer({ min: 0, max: 5 }).map((n) => `b${n}`);
  const parts = fc.record({ blobs: fc.array(blob), manifests: fc.array(id), subject: id });
  const tags = fc.dictionary(fc.constantFrom("x", "y"), id);
  fc.assert(
    fc.property(fc.dictionary(id, parts), tags, fc.array(blob), (manifests, tagged, pushing) => {
      const kept = reachable(state(manifests, tagged, pushing));
      const partsOf = (digest: string) => [
        ...(manifests[digest]?.blobs ?? []),
        ...(manifests[digest]?.manifests ?? []),
      ];
      const needed = Object.keys(manifests).flatMap(partsOf);
      expect(needed.filter((part) => !kept.has(part))).toEqual([]);
      const lasting = [...kept].filter(([, { isLasting }]) => isLasting).flatMap(([digest]) => partsOf(digest));
      expect(lasting.filter((part) => kept.get(part)?.isLasting !== true)).toEqual([]);
    }),
  );
});
