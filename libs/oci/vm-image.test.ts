import { describe, expect, it } from "vitest";
import { chunksOf } from "./chunks.ts";
import { digestOf } from "./digest.ts";
import { annotations } from "./disk-chunks.ts";
import { mediaTypes } from "./manifest.ts";
import { chunkSizeFor, configOf, readVmImage } from "./vm-image.ts";

const MIB = 2 ** 20;
const someDigest = digestOf(Buffer.from("x"));
const config = { virtualSizeBytes: 3 * MIB + 512, chunkSizeBytes: MIB };

function manifest(offsets: readonly (number | string)[], more: object = {}) {
  const layers = offsets.map((offset) => ({
    mediaType: mediaTypes.diskChunk,
    digest: someDigest,
    size: 10,
    annotations: { [annotations.offset]: String(offset), [annotations.contentDigest]: someDigest },
  }));
  const own = { mediaType: mediaTypes.vmImageConfig, digest: someDigest, size: 2 };
  return { schemaVersion: 2, artifactType: mediaTypes.vmImage, config: own, layers, ...more };
}

describe("readVmImage", () => {
  it("reads chunks, the last one shorter", () => {
    const { chunks } = readVmImage(manifest([0, 3 * MIB]), config);
    expect(chunks.map(({ offset, length }) => ({ offset, length }))).toEqual([
      { offset: 0, length: MIB },
      { offset: 3 * MIB, length: 512 },
    ]);
  });

  it.each([
    ["beyond the disk", manifest([4 * MIB]), config],
    ["before it", manifest([-MIB]), config],
    ["between two chunks", manifest([512]), config],
    ["no number", manifest(["x"]), config],
    ["twice", manifest([MIB, MIB]), config],
    ["no size", manifest([0]), {}],
    ["a size that is no multiple of a sector", manifest([0]), { ...config, virtualSizeBytes: 1000 }],
    ["huge chunks", manifest([0]), { ...config, chunkSizeBytes: 2 ** 40 }],
    ["a config that is not an object", manifest([0]), null],
  ])("refuses %s", (_case, badManifest, badConfig) => {
    expect(() => readVmImage(badManifest, badConfig)).toThrow(expect.objectContaining({ reason: "IMAGE_INVALID" }));
  });

  it("refuses another artifact", () => {
    expect(() => configOf(manifest([0], { artifactType: "x/y" }))).toThrow(
      expect.objectContaining({ reason: "IMAGE_INVALID" }),
    );
  });
});

describe("chunks", () => {
  it("are 1 MiB, and larger for larger disks so that there are not too many", () => {
    const GIB = 1024 * MIB;
    expect([1, 10, 40, 100, 500, 2000].map((size) => chunkSizeFor(size * GIB) / MIB)).toEqual([1, 1, 4, 16, 64, 64]);
  });

  it("are those that the ranges touch", () => {
    const ranges = [
      { offset: 10, length: 1 },
      { offset: 20, length: MIB },
      { offset: 3 * MIB, length: 512 },
    ];
    expect(chunksOf(ranges, config).map(({ offset, length }) => [offset, length])).toEqual([
      [0, MIB],
      [MIB, MIB],
      [3 * MIB, 512],
    ]);
  });
});
