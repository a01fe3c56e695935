import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { digestOf } from "#libs/oci";
import { describeRegistry } from "../../testing/describe-registry.ts";

describeRegistry("Deleting tags", (client) => {
  it("202, gone at once, and the manifest and its other tags stay", async () => {
    const repository = client.repository();
    const { bytes, digest } = await client.pushImage(repository, "v1");
    await client.putManifest(repository, "v2", bytes);
    expect(await client.status("DELETE", `/v2/${repository}/manifests/v1`)).toBe(202);
    for (const method of ["HEAD", "GET", "DELETE"]) {
      expect(await client.status(method, `/v2/${repository}/manifests/v1`)).toBe(404);
    }
    for (const reference of ["v2", digest]) {
      expect(await client.status("HEAD", `/v2/${repository}/manifests/${reference}`)).toBe(200);
    }
  });
});

describeRegistry("Deleting Manifests", (client) => {
  it("202, and the manifest and all its tags are gone at once, and no other", async () => {
    const repository = client.repository();
    const { bytes, digest } = await client.pushImage(repository, "v1");
    await client.putManifest(repository, `${digest}?tag=v2&tag=v3`, bytes);
    const other = await client.pushImage(repository, "other");
    expect(await client.status("DELETE", `/v2/${repository}/manifests/${digest}`)).toBe(202);
    for (const reference of [digest, "v1", "v2", "v3"]) {
      for (const method of ["HEAD", "GET"]) {
        expect(await client.status(method, `/v2/${repository}/manifests/${reference}`)).toBe(404);
      }
    }
    const list = await client.send("GET", `/v2/${repository}/tags/list`);
    expect(JSON.parse(list.body.toString()).tags).toEqual(["other"]);
    expect(await client.status("HEAD", `/v2/${repository}/manifests/${other.digest}`)).toBe(200);
    expect(await client.status("DELETE", `/v2/${repository}/manifests/${digest}`)).toBe(404);
  });

  it("a tag that went over to another manifest before is not taken along", async () => {
    const repository = client.repository();
    const old = await client.pushImage(repository, "v1");
    const now = await client.pushImage(repository, "v1");
    await client.send("DELETE", `/v2/${repository}/manifests/${old.digest}`);
    const head = await client.send("HEAD", `/v2/${repository}/manifests/v1`);
    expect([head.status, head.headers["docker-content-digest"]]).toEqual([200, now.digest]);
  });

  it("it can be pushed again, and its tags do not come back with it", async () => {
    const repository = client.repository();
    const { bytes, digest } = await client.pushImage(repository, "v1");
    await client.send("DELETE", `/v2/${repository}/manifests/${digest}`);
    expect((await client.putManifest(repository, digest, bytes)).response.status).toBe(201);
    expect(await client.status("HEAD", `/v2/${repository}/manifests/v1`)).toBe(404);
  });

  it("404 in a repository that is not there", async () => {
    const digest = digestOf(Buffer.from("x"));
    for (const reference of ["v1", digest]) {
      expect(await client.status("DELETE", `/v2/conformance/absent/manifests/${reference}`)).toBe(404);
    }
  });
});

describeRegistry("Deleting Blobs", (client) => {
  it("202, then 404 at once, though another repository has it", async () => {
    const [repository, other] = [client.repository(), client.repository()];
    const blob = randomBytes(700);
    const digest = await client.pushBlob(repository, blob);
    await client.pushBlob(other, blob);
    expect(await client.status("DELETE", `/v2/${repository}/blobs/${digest}`)).toBe(202);
    for (const method of ["HEAD", "GET", "DELETE"]) {
      expect(await client.status(method, `/v2/${repository}/blobs/${digest}`)).toBe(404);
    }
    expect(await client.status("HEAD", `/v2/${other}/blobs/${digest}`)).toBe(200);
    await client.pushBlob(repository, blob);
    expect(await client.status("HEAD", `/v2/${repository}/blobs/${digest}`)).toBe(200);
  });

  it("404 for one that is not there, and in a repository that is not there", async () => {
    const digest = digestOf(Buffer.from("absent"));
    for (const repository of [client.repository(), "conformance/absent"]) {
      expect(await client.status("DELETE", `/v2/${repository}/blobs/${digest}`)).toBe(404);
    }
  });
});

describeRegistry("Error Codes", (client) => {
  it("are JSON with code and message, and no answer is a server's error", async () => {
    const missing = await client.send("GET", "/v2/conformance/absent/manifests/v1");
    expect(missing.headers["content-type"]).toBe("application/json");
    expect(JSON.parse(missing.body.toString())).toEqual({
      errors: [{ code: "MANIFEST_UNKNOWN", message: expect.stringMatching(/./), detail: {} }],
    });
  });

  it.each([
    ["PUT", "/v2/conformance/x/tags/list", 405],
    ["POST", "/v2/conformance/x/manifests/v1", 405],
    ["PATCH", "/v2/conformance/x/blobs/uploads/", 405],
    ["TRACE", "/v2/", 405],
    ["GET", "/v2/conformance", 404],
    ["GET", "/v1/", 404],
    ["GET", "/", 404],
    ["GET", "/v2/_catalog/x", 404],
    ["GET", "/v2/conformance/_x/tags/list", 400],
    ["GET", "/v2/Conformance/x/tags/list", 400],
    ["GET", "/v2/conformance//x/tags/list", 400],
    ["GET", "/v2/conformance/x./tags/list", 400],
    ["GET", `/v2/${"x/".repeat(128)}x/tags/list`, 400],
    ["GET", "/v2/conformance/../../../etc/passwd", 404],
    ["GET", "/v2/conformance/%2e%2e/%2e%2e/tags/list", 400],
    ["GET", "/v2/..%2f..%2fetc/manifests/v1", 400],
    ["GET", "/v2/conformance/x%00/tags/list", 400],
    ["GET", "/v2/conformance/x%ff/tags/list", 400],
    ["GET", "/v2/conformance/x/manifests/%E0%A4%A", 400],
    ["GET", "/v2/conformance/x/blobs/..%2f..%2f..%2fetc%2fpasswd", 400],
    ["GET", "//", 404],
    ["GET", "http://[", 400],
  ] as const)("%s %s is %i", async (method, path, status) => {
    const response = await client.send(method, path);
    expect(response.status).toBe(status);
    expect(response.code).not.toBe("");
  });
});
