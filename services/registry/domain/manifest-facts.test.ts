import { describe, expect, it } from "vitest";
import { readManifest } from "./manifest-facts.ts";

const descriptor = (digest: string, more: object = {}) => ({ mediaType: "x/y", digest, size: 10, ...more });
const bytes = (body: unknown) => Buffer.from(JSON.stringify(body));

describe("readManifest", () => {
  it("tells what an image needs, but not of layers that are elsewhere", () => {
    const layers = [descriptor("sha256:1"), descriptor("sha256:2", { urls: ["http://elsewhere"] })];
    const config = descriptor("sha256:3", { mediaType: "config/type" });
    const facts = readManifest(
      bytes({ config, layers, subject: descriptor("sha256:4"), annotations: { a: "b", c: 1 } }),
      "m/t",
    );
    expect(facts).toEqual({
      mediaType: "m/t",
      artifactType: "config/type",
      blobs: ["sha256:1", "sha256:3"],
      manifests: [],
      subject: "sha256:4",
      config,
      sizes: new Map([
        ["sha256:1", 10],
        ["sha256:3", 10],
      ]),
      sizeBytes: 20,
      annotations: { a: "b" },
    });
  });

  it("tells what an index needs, and takes its media type from the body", () => {
    const facts = readManifest(
      bytes({ mediaType: "m/i", artifactType: "a/t", manifests: [descriptor("sha256:1")] }),
      undefined,
    );
    expect(facts).toMatchObject({ mediaType: "m/i", artifactType: "a/t", blobs: [], manifests: ["sha256:1"] });
  });

  it.each([
    ["no JSON", Buffer.from("{"), "m/t"],
    ["a list", bytes([]), "m/t"],
    ["neither image nor index", bytes({ schemaVersion: 1, fsLayers: [] }), "m/t"],
    ["layers that are no list", bytes({ layers: {} }), "m/t"],
    ["a descriptor without a digest", bytes({ layers: [{ size: 1 }] }), "m/t"],
    ["a negative size", bytes({ layers: [descriptor("sha256:1", { size: -1 })] }), "m/t"],
    ["no media type", bytes({ layers: [] }), undefined],
    ["another media type than the request's", bytes({ mediaType: "m/other", layers: [] }), "m/t"],
  ])("refuses %s", (_case, body, contentType) => {
    expect(() => readManifest(body, contentType)).toThrow(expect.objectContaining({ code: "MANIFEST_INVALID" }));
  });
});
