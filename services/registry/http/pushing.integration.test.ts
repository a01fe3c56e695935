import { randomBytes } from "node:crypto";
import { request as startRequest } from "node:http";
import { describe, expect, it } from "vitest";
import { digestOf, mediaTypes } from "#libs/oci";
import { startTestRegistry } from "../testing/registry-fixture.ts";
import { pushBlob, pushManifest } from "./oci-fixture.ts";

const octets = { "content-type": "application/octet-stream" };

async function startUpload(url: string, repository = "pushed/image"): Promise<string> {
  const response = await fetch(`${url}/v2/${repository}/blobs/uploads/`, { method: "POST" });
  expect(response.status).toBe(202);
  return `${url}${response.headers.get("location")}`;
}

const chunk = (location: string, body: Buffer, range?: string) =>
  fetch(location, {
    method: "PATCH",
    body: new Uint8Array(body),
    headers: { ...octets, ...(range && { "content-range": range }) },
  });

describe("Pushing a blob monolithically", () => {
  it.each(["sha256", "sha512"] as const)("POST then PUT, %s", async (algorithm) => {
    await using registry = await startTestRegistry();
    const blob = randomBytes(3_000_000);
    const digest = digestOf(blob, algorithm);
    const location = await startUpload(registry.url);
    const put = await fetch(`${location}?digest=${digest}`, { method: "PUT", body: blob, headers: octets });
    expect(put.status).toBe(201);
    expect(put.headers.get("docker-content-digest")).toBe(digest);
    const get = await fetch(`${registry.url}${put.headers.get("location")}`);
    expect(get.headers.get("docker-content-digest")).toBe(digest);
    expect(blob.equals(Buffer.from(await get.arrayBuffer()))).toBe(true);
  });

  it.each([0, 1, 5_000_000])("single POST of %i bytes", async (size) => {
    await using registry = await startTestRegistry();
    const blob = randomBytes(size);
    const post = await pushBlob(registry.url, "a", blob);
    expect(post.status).toBe(201);
    const head = await fetch(`${registry.url}/v2/a/blobs/${digestOf(blob)}`, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length")]).toEqual([200, String(size)]);
  });

  it.each([
    ["wrong content", digestOf(Buffer.from("other"))],
    ["malformed", "sha256:abc"],
    ["unknown algorithm", `md5:${"0".repeat(32)}`],
  ])("refuses a bad digest: %s", async (_case, digest) => {
    await using registry = await startTestRegistry();
    const post = await pushBlob(registry.url, "a", Buffer.from("content"), digest);
    expect(post.status).toBe(400);
    expect(await post.json()).toMatchObject({ errors: [{ code: "DIGEST_INVALID" }] });
    const head = await fetch(`${registry.url}/v2/a/blobs/${digestOf(Buffer.from("content"))}`, { method: "HEAD" });
    expect(head.status).toBe(404);
  });

  it("refuses a blob over the limit with 413", async () => {
    await using registry = await startTestRegistry({ REGISTRY_MAX_BLOB_BYTES: "1000" });
    expect((await pushBlob(registry.url, "a", randomBytes(1000))).status).toBe(201);
    const post = await pushBlob(registry.url, "a", randomBytes(1001)).catch(() => undefined);
    expect(post?.status ?? 413).toBe(413);
  });
});

describe("Pushing a blob in chunks", () => {
  it("PATCH in order, status in between, last chunk in the PUT", async () => {
    await using registry = await startTestRegistry();
    const blob = randomBytes(2_500_000);
    const location = await startUpload(registry.url);
    const first = await chunk(location, blob.subarray(0, 1_000_000), "0-999999");
    expect([first.status, first.headers.get("range")]).toEqual([202, "0-999999"]);
    const status = await fetch(location);
    expect([status.status, status.headers.get("range")]).toEqual([204, "0-999999"]);
    expect((await chunk(location, blob.subarray(1_000_000, 2_000_000), "1000000-1999999")).status).toBe(202);
    const put = await fetch(`${location}?digest=${digestOf(blob)}`, {
      method: "PUT",
      body: blob.subarray(2_000_000),
      headers: { ...octets, "content-range": "2000000-2499999" },
    });
    expect(put.status).toBe(201);
  });

  it("answers 416 to a chunk or last chunk out of order, and the session goes on", async () => {
    await using registry = await startTestRegistry();
    const blob = randomBytes(2_000);
    const location = await startUpload(registry.url);
    const early = await chunk(location, blob.subarray(1_000), "1000-1999");
    expect([early.status, early.headers.get("range")]).toEqual([416, "0-0"]);
    expect((await chunk(location, blob.subarray(0, 1_000), "0-999")).status).toBe(202);
    const again = await chunk(location, blob.subarray(0, 1_000), "0-999");
    expect([again.status, again.headers.get("range")]).toEqual([416, "0-999"]);
    const finish = (range: string) =>
      fetch(`${location}?digest=${digestOf(blob)}`, {
        method: "PUT",
        body: blob.subarray(1_000),
        headers: { ...octets, "content-range": range },
      });
    expect((await finish("0-999")).status).toBe(416);
    expect((await finish("1000-1999")).status).toBe(201);
  });

  it("streams without Content-Range, and a sha512 known only at the end", async () => {
    await using registry = await startTestRegistry();
    const blob = randomBytes(100_000);
    const location = await startUpload(registry.url);
    expect((await chunk(location, blob.subarray(0, 60_000))).status).toBe(202);
    expect((await chunk(location, blob.subarray(60_000))).status).toBe(202);
    const put = await fetch(`${location}?digest=${digestOf(blob, "sha512")}`, { method: "PUT" });
    expect(put.status).toBe(201);
  });

  it("a chunk that is cut off counts for nothing", async () => {
    await using registry = await startTestRegistry();
    const blob = randomBytes(200_000);
    const location = await startUpload(registry.url);
    expect((await chunk(location, blob.subarray(0, 50_000), "0-49999")).status).toBe(202);
    const cut = startRequest(location, { method: "PATCH", headers: { "content-length": 150_000 } });
    const failed = new Promise((resolve) => cut.on("error", resolve));
    cut.write(randomBytes(70_000), () => cut.destroy(new Error("the client dies")));
    await failed;
    expect((await fetch(location)).headers.get("range")).toBe("0-49999");
    expect((await chunk(location, blob.subarray(50_000), "50000-199999")).status).toBe(202);
    expect((await fetch(`${location}?digest=${digestOf(blob)}`, { method: "PUT" })).status).toBe(201);
  });

  it("DELETE cancels; unknown sessions are 404", async () => {
    await using registry = await startTestRegistry();
    const location = await startUpload(registry.url);
    expect((await fetch(location, { method: "DELETE" })).status).toBe(204);
    expect((await fetch(location)).status).toBe(404);
    expect((await fetch(`${registry.url}/v2/a/blobs/uploads/..%2f..`, { method: "PATCH", body: "x" })).status).toBe(
      404,
    );
  });
});

describe("Mounting a blob from another repository", () => {
  it("201 from a repository that has it, also when none is named; else an upload begins", async () => {
    await using registry = await startTestRegistry();
    const blob = randomBytes(1_000);
    const digest = digestOf(blob);
    await pushManifest(registry.url, "source", "v1", { layers: [blob] });
    const mount = (into: string, query: string) =>
      fetch(`${registry.url}/v2/${into}/blobs/uploads/?mount=${digest}${query}`, { method: "POST" });
    expect((await mount("b/one", "&from=source")).status).toBe(201);
    expect((await mount("b/two", "")).status).toBe(201);
    expect((await fetch(`${registry.url}/v2/b/one/blobs/${digest}`, { method: "HEAD" })).status).toBe(200);
    const refused = await mount("b/three", "&from=empty");
    expect(refused.status).toBe(202);
    const location = `${registry.url}${refused.headers.get("location")}?digest=${digest}`;
    expect((await fetch(location, { method: "PUT", body: blob, headers: octets })).status).toBe(201);
  });
});

describe("Pushing manifests", () => {
  it("by tag, by digest with tags, byte for byte", async () => {
    await using registry = await startTestRegistry();
    const { bytes, digest, response } = await pushManifest(registry.url, "a/b", "v1", { extra: { unknown: [1, 2] } });
    expect(response.headers.get("docker-content-digest")).toBe(digest);
    const sha512 = digestOf(bytes, "sha512");
    const put = await fetch(`${registry.url}/v2/a/b/manifests/${sha512}?tag=x&tag=y`, {
      method: "PUT",
      body: new Uint8Array(bytes),
      headers: { "content-type": mediaTypes.manifest },
    });
    expect([put.status, put.headers.get("oci-tag")]).toEqual([201, "x, y"]);
    const get = await fetch(`${registry.url}/v2/a/b/manifests/y`);
    expect(get.headers.get("docker-content-digest")).toBe(sha512);
    expect(bytes.equals(Buffer.from(await get.arrayBuffer()))).toBe(true);
  });

  it("refuses one whose blobs are missing, one that is no manifest, one under another digest, one too large", async () => {
    await using registry = await startTestRegistry();
    const put = async (reference: string, body: string) => {
      const headers = { "content-type": mediaTypes.manifest };
      const response = await fetch(`${registry.url}/v2/a/manifests/${reference}`, { method: "PUT", body, headers });
      return [response.status, ((await response.json()) as { errors: [{ code: string }] }).errors[0].code];
    };
    const descriptor = { mediaType: "text/plain", digest: digestOf(Buffer.from("absent")), size: 6 };
    const lacking = JSON.stringify({ schemaVersion: 2, config: descriptor, layers: [] });
    expect(await put("v1", lacking)).toEqual([404, "MANIFEST_BLOB_UNKNOWN"]);
    expect(await put("v1", "{")).toEqual([400, "MANIFEST_INVALID"]);
    expect(await put("v1", "{}")).toEqual([400, "MANIFEST_INVALID"]);
    expect(await put(digestOf(Buffer.from("other")), "{}")).toEqual([400, "DIGEST_INVALID"]);
    expect(await put("v1", `"${"x".repeat(4 * 2 ** 20)}"`)).toEqual([413, "SIZE_INVALID"]);
    expect((await fetch(`${registry.url}/v2/a/tags/list`)).status).toBe(404);
  });
});
