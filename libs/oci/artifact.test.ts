import { describe, expect, it } from "vitest";
import { MAX_GROUP, MAX_MANIFEST_BYTES, type PackedArtifact, packArtifact, unpackArtifact } from "./artifact.ts";
import { digestOf } from "./digest.ts";
import { chunkLayer, groupChunks } from "./disk-chunks.ts";
import { mediaTypes } from "./manifest.ts";

const CHUNK = 262_144;
const artifactType = mediaTypes.checkpoint;
const blob = (text: string) => ({ mediaType: "a/b", digest: digestOf(Buffer.from(text)), size: text.length });
const config = blob("config");
const subject = blob("the parent");

function chunks(count: number, changed?: number) {
  return Array.from({ length: count }, (_, index) =>
    chunkLayer(
      {
        offset: index * CHUNK,
        contentDigest: digestOf(Buffer.from(`${index}`)),
        blob: blob(index === changed ? "x" : "y"),
      },
      "root",
    ),
  );
}

const pack = (layers: ReturnType<typeof chunks>) =>
  packArtifact({ artifactType, config, layers: [blob("ram")], groups: groupChunks(layers, CHUNK), subject });

const partOf =
  ({ parts }: PackedArtifact) =>
  async (wanted: { readonly digest: string }) => {
    const found = parts.find(({ descriptor }) => descriptor.digest === wanted.digest);
    if (found === undefined) throw new Error("not listed");
    return found.bytes;
  };

describe("an artifact", () => {
  it("of few layers is one manifest", async () => {
    const packed = pack(chunks(100));
    expect(packed.parts).toEqual([]);
    expect(packed.top.descriptor.mediaType).toBe(mediaTypes.manifest);
    const read = await unpackArtifact(packed.top.bytes, partOf(packed));
    expect(read).toEqual({ artifactType, config, layers: [blob("ram"), ...chunks(100)], subject });
  });

  it("of many is an index of manifests, of which a change leaves all but one as they are", async () => {
    const packed = pack(chunks(3 * MAX_GROUP + 5));
    expect(packed.top.descriptor.mediaType).toBe(mediaTypes.index);
    expect(packed.parts).toHaveLength(5);
    for (const { bytes } of packed.parts) expect(bytes.length).toBeLessThan(MAX_MANIFEST_BYTES);
    const read = await unpackArtifact(packed.top.bytes, partOf(packed));
    expect(read.layers).toHaveLength(3 * MAX_GROUP + 6);
    expect([read.config, read.subject]).toEqual([config, subject]);
    const next = pack(chunks(3 * MAX_GROUP + 5, MAX_GROUP + 7));
    const known = new Set(packed.parts.map(({ descriptor }) => descriptor.digest));
    expect(next.parts.filter(({ descriptor }) => !known.has(descriptor.digest))).toHaveLength(1);
  });

  it.each([
    ["no JSON", "{"],
    ["no layers", JSON.stringify({ artifactType, config, layers: [] })],
    ["neither", JSON.stringify({ artifactType })],
    ["a digest that is none", JSON.stringify({ artifactType, config, layers: [{ ...config, digest: "sha256:x" }] })],
  ])("that is %s is refused", async (_case, text) => {
    const read = unpackArtifact(Buffer.from(text), () => Promise.reject(new Error("none")));
    await expect(read).rejects.toMatchObject({ reason: "IMAGE_INVALID" });
  });
});
