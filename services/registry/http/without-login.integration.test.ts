import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { request as startRequest } from "node:http";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOf } from "#libs/oci";
import { keys } from "../store/keys.ts";
import { startTestRegistry } from "../testing/registry-fixture.ts";
import { sendOnce } from "../testing/registry-user.ts";
import { pushBlob, pushManifest } from "./oci-fixture.ts";

const run = promisify(execFile);
let registry: Awaited<ReturnType<typeof startTestRegistry>>;
beforeAll(async () => {
  registry = await startTestRegistry({ REGISTRY_MAX_BLOB_BYTES: "1000000" });
});
afterAll(() => registry[Symbol.asyncDispose]());

const send = (method: string, path: string, body?: Buffer, headers = {}) =>
  sendOnce(registry.url, method, path, { headers, ...(body !== undefined && { body }) });

describe("a registry without logins", () => {
  it("lists its repositories, also one inside another, page by page", async () => {
    for (const repository of ["b/c", "a", "b"]) await pushManifest(registry.url, repository, "v1");
    const catalog = async (path: string) => {
      const { body, headers } = await send("GET", path);
      return { names: JSON.parse(body.toString()).repositories, link: headers.link };
    };
    expect((await catalog("/v2/_catalog")).names).toEqual(["a", "b", "b/c"]);
    const first = await catalog("/v2/_catalog?n=2");
    expect(first).toEqual({ names: ["a", "b"], link: '</v2/_catalog?n=2&last=b>; rel="next"' });
    expect(await catalog("/v2/_catalog?n=2&last=b")).toEqual({ names: ["b/c"], link: undefined });
  });

  it("lists ten thousand tags, whole and page by page, to skopeo too", async () => {
    const { digest } = await pushManifest(registry.url, "many", "first");
    const tags = Array.from({ length: 10_000 }, (_, number) => `tag-${String(number).padStart(5, "0")}`);
    // As ten thousand pushes leave them, without the time that these take.
    await Promise.all(tags.map((tag) => writeFile(join(registry.data, keys.tag("many", tag)), digest)));
    const list = async (query: string) => {
      const { body, headers } = await send("GET", `/v2/many/tags/list${query}`);
      return { tags: JSON.parse(body.toString()).tags, link: headers.link };
    };
    expect((await list("")).tags).toEqual(["first", ...tags]);
    const page = await list("?n=100&last=tag-04999");
    expect(page.tags).toEqual(tags.slice(5_000, 5_100));
    expect(page.link).toBe('</v2/many/tags/list?n=100&last=tag-05099>; rel="next"');
    const listed = await run("skopeo", ["list-tags", "--tls-verify=false", `docker://${registry.httpAddress}/many`]);
    expect(JSON.parse(listed.stdout).Tags).toEqual(["first", ...tags]);
    expect((await send("HEAD", "/v2/many/manifests/tag-09999")).headers["docker-content-digest"]).toBe(digest);
  });

  it("has no tokens", async () => {
    expect((await send("GET", "/token")).status).toBe(404);
  });

  it("refuses a blob over the limit with 413, which the client can read, and keeps nothing of it", async () => {
    const blob = randomBytes(1_000_001);
    expect((await pushBlob(registry.url, "a", blob.subarray(1))).status).toBe(201);
    expect((await pushBlob(registry.url, "a", blob)).status).toBe(413);
    const { headers } = await send("POST", "/v2/a/blobs/uploads/");
    const location = headers.location ?? "";
    expect((await send("PATCH", location, blob)).code).toBe("SIZE_INVALID");
    expect((await send("PATCH", location, blob.subarray(0, 600_000))).status).toBe(202);
    expect((await send("PATCH", location, blob.subarray(600_000))).status).toBe(413);
    expect((await send("GET", location)).headers.range).toBe("0-599999");
  });

  it("a chunk that is cut off counts for nothing", async () => {
    const blob = randomBytes(200_000);
    const location = (await send("POST", "/v2/a/blobs/uploads/")).headers.location ?? "";
    const first = { "content-range": "0-49999" };
    expect((await send("PATCH", location, blob.subarray(0, 50_000), first)).status).toBe(202);
    const headers = { "content-length": 150_000 };
    const cut = startRequest(`${registry.url}${location}`, { method: "PATCH", headers });
    const failed = new Promise((resolve) => cut.on("error", resolve));
    cut.write(randomBytes(70_000), () => cut.destroy(new Error("the client dies")));
    await failed;
    expect((await send("GET", location)).headers.range).toBe("0-49999");
    const rest = { "content-range": "50000-199999" };
    expect((await send("PATCH", location, blob.subarray(50_000), rest)).status).toBe(202);
    expect((await send("PUT", `${location}?digest=${digestOf(blob)}`)).status).toBe(201);
  });
});
