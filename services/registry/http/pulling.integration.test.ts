import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { digestOf } from "#libs/oci";
import { startTestRegistry } from "../testing/registry-fixture.ts";
import { pushBlob, pushManifest } from "./oci-fixture.ts";

describe("Pulling blobs", () => {
  it("whole ones of every size, with length, digest and ETag", async () => {
    await using registry = await startTestRegistry();
    for (const size of [0, 10, 65_536, 2 ** 20, 2 ** 20 + 1, 5 * 2 ** 20 + 7]) {
      const blob = randomBytes(size);
      await pushBlob(registry.url, "a/b/c", blob);
      const get = await fetch(`${registry.url}/v2/a/b/c/blobs/${digestOf(blob)}`);
      expect(get.headers.get("content-length")).toBe(String(size));
      expect(get.headers.get("docker-content-digest")).toBe(digestOf(blob));
      expect(blob.equals(Buffer.from(await get.arrayBuffer()))).toBe(true);
      const headers = { "if-none-match": get.headers.get("etag") ?? "" };
      expect((await fetch(get.url, { headers })).status).toBe(304);
    }
  });

  it("parts of them: 206 with Content-Range, 416 where there is nothing", async () => {
    await using registry = await startTestRegistry();
    const blob = randomBytes(1_000);
    await pushBlob(registry.url, "a", blob);
    const part = async (range: string) => {
      const response = await fetch(`${registry.url}/v2/a/blobs/${digestOf(blob)}`, { headers: { range } });
      return { response, body: Buffer.from(await response.arrayBuffer()) };
    };
    for (const [range, first, end] of [
      ["bytes=10-19", 10, 20],
      ["bytes=990-", 990, 1_000],
      ["bytes=-5", 995, 1_000],
      ["bytes=900-5000", 900, 1_000],
      ["bytes=-5000", 0, 1_000],
    ] as const) {
      const { response, body } = await part(range);
      expect(response.status).toBe(206);
      expect(response.headers.get("content-range")).toBe(`bytes ${first}-${end - 1}/1000`);
      expect(body.equals(blob.subarray(first, end))).toBe(true);
    }
    for (const range of ["bytes=500-0", "bytes=1000-", "bytes=1000-1001", "bytes=-0"]) {
      expect((await part(range)).response.status).toBe(416);
    }
    expect((await part("bytes=0-1,5-6")).response.status).toBe(200);
  });

  it("unknown, malformed and unlinked ones are refused, never with 500", async () => {
    await using registry = await startTestRegistry();
    const blob = randomBytes(10);
    await pushBlob(registry.url, "a", blob);
    const status = async (path: string, method = "GET") => (await fetch(`${registry.url}${path}`, { method })).status;
    expect(await status(`/v2/other/blobs/${digestOf(blob)}`)).toBe(404);
    expect(await status(`/v2/other/blobs/${digestOf(blob)}`, "HEAD")).toBe(404);
    expect(await status("/v2/a/blobs/sha256:zz")).toBe(400);
    expect(await status("/v2/a/blobs/..%2f..%2fetc")).toBe(400);
    expect(await status(`/v2/A/blobs/${digestOf(blob)}`)).toBe(400);
    expect(await status("/v2/a/../../etc/passwd")).toBe(404);
    expect(await status("/v2/")).toBe(200);
    expect(await status("/v2/a/tags/list", "PUT")).toBe(405);
  });
});

describe("Pulling manifests", () => {
  it("by tag and digest, GET and HEAD; unknown ones are 404", async () => {
    await using registry = await startTestRegistry();
    const { digest, bytes } = await pushManifest(registry.url, "a", "v1.0");
    for (const reference of ["v1.0", digest]) {
      const head = await fetch(`${registry.url}/v2/a/manifests/${reference}`, { method: "HEAD" });
      expect([head.status, head.headers.get("content-length")]).toEqual([200, String(bytes.length)]);
      expect(head.headers.get("docker-content-digest")).toBe(digest);
      const get = await fetch(`${registry.url}/v2/a/manifests/${reference}`);
      expect(Buffer.from(await get.arrayBuffer()).equals(bytes)).toBe(true);
    }
    for (const reference of ["v2", digestOf(Buffer.from("x")), "sha256:1"]) {
      const get = await fetch(`${registry.url}/v2/a/manifests/${reference}`);
      expect(get.status).toBe(404);
      expect(await get.json()).toMatchObject({ errors: [{ code: "MANIFEST_UNKNOWN" }] });
    }
  });
});
