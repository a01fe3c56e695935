import { randomBytes } from "node:crypto";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOf, mediaTypes } from "#libs/oci";
import { locationOf, withDigest } from "../testing/conformance-client.ts";
import { type RegistryCluster, startRegistryCluster } from "../testing/registry-cluster.ts";
import { type RegistryUser, sendOnce, type UserResponse } from "../testing/registry-user.ts";

let cluster: RegistryCluster;
let user: RegistryUser;
const octets = { "content-type": "application/octet-stream" };
const patient = { timeout: 20_000, interval: 100 };

/** Sends it again where it is told to: content that a refused push has left may just be going. */
const push = async (repository: string, blob: Buffer): Promise<UserResponse> => {
  const path = withDigest(`/v2/${repository}/blobs/uploads/`, digestOf(blob));
  for (;;) {
    const answer = await user.send("POST", path, { headers: octets, body: blob });
    if (answer.status !== 503) return answer;
    expect(answer.body.toString()).toContain("send it again");
  }
};
const remove = async (repository: string, blob: Buffer) =>
  (await user.send("DELETE", `/v2/${repository}/blobs/${digestOf(blob)}`)).status;
const exists = async (repository: string, blob: Buffer) =>
  (await user.send("HEAD", `/v2/${repository}/blobs/${digestOf(blob)}`)).status === 200;
const nameOf = (project: string) => `registry/quotas/${project}`;
const setQuota = (project: string, limitBytes: number) =>
  cluster.quotas.setQuota({ name: nameOf(project), limitBytes });
const used = async (project: string) => (await cluster.quotas.getQuota({ name: nameOf(project) })).usedBytes;

beforeAll(async () => {
  cluster = await startRegistryCluster({
    replicas: 2,
    settings: { REGISTRY_COLLECT_SECONDS: "0.5", REGISTRY_GRACE_SECONDS: "600" },
  });
  user = await cluster.user("pusher", { "*": ["PULL", "PUSH", "DELETE"] });
});
afterAll(() => cluster[Symbol.asyncDispose]());

describe("a quota", () => {
  it("counts each blob once in a project, and gives back what is deleted from all its repositories", async () => {
    const blob = randomBytes(4_000);
    await push("once/a", blob);
    expect(await setQuota("once", 10_000)).toMatchObject({
      name: nameOf("once"),
      limitBytes: 10_000,
      usedBytes: 4_000,
    });
    for (const repository of ["once/a", "once/b/c", "once", "another/a"])
      expect((await push(repository, blob)).status).toBe(201);
    const mounted = `/v2/once/d/blobs/uploads/?mount=${digestOf(blob)}&from=another/a`;
    expect((await user.send("POST", mounted)).status).toBe(201);
    expect(await used("once")).toBe(4_000);
    for (const repository of ["once/a", "once/b/c", "once"]) expect(await remove(repository, blob)).toBe(202);
    expect(await used("once")).toBe(4_000);
    expect(await remove("once/d", blob)).toBe(202);
    expect(await used("once")).toBe(0);
    expect(await exists("another/a", blob)).toBe(true);
  });

  it("refuses what goes beyond with 403, by every way to push, and keeps nothing of it", async () => {
    await setQuota("full", 10_000);
    await push("full/a", randomBytes(6_000));
    const blob = randomBytes(5_000);
    const posted = await push("full/a", blob);
    expect([posted.status, posted.code]).toEqual([403, "DENIED"]);
    expect(posted.body.toString()).toContain("full holds 6000 of 10000 bytes, and this needs 5000 more");
    const location = locationOf(await user.send("POST", "/v2/full/a/blobs/uploads/"));
    await user.send("PATCH", location, { headers: octets, body: blob.subarray(0, 3_000) });
    const put = await user.send("PUT", withDigest(location, digestOf(blob)), {
      headers: octets,
      body: blob.subarray(3_000),
    });
    expect([put.status, put.code]).toEqual([403, "DENIED"]);
    expect((await user.send("GET", location)).status).toBe(404);
    const streamed = withDigest("/v2/full/a/blobs/uploads/", digestOf(blob));
    const chunked = { ...octets, "transfer-encoding": "chunked" };
    expect((await user.send("POST", streamed, { headers: chunked, body: blob })).status).toBe(403);
    await push("elsewhere/a", blob);
    const mount = `/v2/full/a/blobs/uploads/?mount=${digestOf(blob)}&from=elsewhere/a`;
    expect((await user.send("POST", mount)).code).toBe("DENIED");
    expect(await exists("full/a", blob)).toBe(false);
    expect(await used("full")).toBe(6_000);
    expect((await push("full/a", randomBytes(4_000))).status).toBe(201);
    expect((await push("full/a", randomBytes(1))).status).toBe(403);
    await setQuota("full", 10_001);
    expect((await push("full/a", randomBytes(1))).status).toBe(201);
  });

  it("counts manifests, and what a full project has may be pushed again", async () => {
    const config = Buffer.from("{}");
    await push("small/a", config);
    const descriptor = { mediaType: mediaTypes.empty, digest: digestOf(config), size: 2 };
    const manifest = { schemaVersion: 2, mediaType: mediaTypes.manifest, config: descriptor, layers: [] };
    const body = JSON.stringify(manifest);
    const put = (repository: string, bytes: string) =>
      user.send("PUT", `/v2/${repository}/manifests/v1`, {
        headers: { "content-type": mediaTypes.manifest },
        body: bytes,
      });
    await setQuota("small", 2 + body.length);
    for (const repository of ["small/a", "small/a", "small/b"]) {
      expect((await push(repository, config)).status).toBe(201);
      expect((await put(repository, body)).status).toBe(201);
    }
    expect(await used("small")).toBe(2 + body.length);
    expect((await put("small/a", `${body} `)).code).toBe("DENIED");
    expect((await user.send("DELETE", `/v2/small/a/manifests/${digestOf(Buffer.from(body))}`)).status).toBe(202);
    expect((await user.send("DELETE", `/v2/small/b/manifests/${digestOf(Buffer.from(body))}`)).status).toBe(202);
    expect(await used("small")).toBe(2);
  });

  it("is never passed by many who push at once", async () => {
    await setQuota("race", 10_500);
    const pushed = await Promise.all(Array.from({ length: 24 }, () => push("race/a", randomBytes(1_000))));
    expect(pushed.filter(({ status }) => status === 201)).toHaveLength(10);
    expect(pushed.filter(({ code }) => code === "DENIED")).toHaveLength(14);
    expect(await used("race")).toBe(10_000);
  });

  it("is right after Redis has lost everything", async () => {
    await setQuota("lost", 5_000);
    await push("lost/a", randomBytes(2_000));
    const redis = new Redis(cluster.redis.url);
    await redis.flushall();
    redis.disconnect();
    const both = await Promise.all([push("lost/a", randomBytes(2_000)), push("lost/b", randomBytes(2_000))]);
    expect(both.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([201, 403]);
    expect(await used("lost")).toBe(4_000);
  });

  it("is right when it is counted anew while others push and delete", async () => {
    await setQuota("busy", 1_000_000);
    const name = nameOf("busy");
    let pushing = true;
    const recounting = (async () => {
      while (pushing) await cluster.quotas.recountQuota({ name });
    })();
    const kept: Buffer[] = [];
    for (let round = 0; round < 40; round += 1) {
      const blobs = [randomBytes(100), randomBytes(200), randomBytes(300)] as const;
      await Promise.all(blobs.map((blob) => push(`busy/r${round % 3}`, blob)));
      await remove(`busy/r${round % 3}`, blobs[2]);
      kept.push(blobs[0], blobs[1]);
    }
    pushing = false;
    await recounting;
    const expected = kept.reduce((sum, { length }) => sum + length, 0);
    expect(await used("busy")).toBe(expected);
    expect((await cluster.quotas.recountQuota({ name })).usedBytes).toBe(expected);
    await cluster.quotas.deleteQuota({ name });
    await expect
      .poll(() => cluster.quotas.getQuota({ name }), patient)
      .toMatchObject({ limitBytes: 0, usedBytes: expected });
  });

  it("is listed, and refused for what is no project", async () => {
    const { quotas } = cluster;
    await setQuota("team.a_b--c", 1);
    await expect(setQuota("team.a", 0)).rejects.toMatchObject({ reason: "ARGUMENT_INVALID" });
    expect((await quotas.listQuotas({})).quotas.map(({ name }) => name)).toContain(nameOf("team.a_b--c"));
    for (const name of ["registry/quotas/", "registry/quotas/A", "registry/quotas/a/b", "registry/accounts/a", "x"]) {
      await expect(quotas.setQuota({ name, limitBytes: 1 })).rejects.toMatchObject({ reason: "NAME_INVALID" });
    }
    await expect(quotas.deleteQuota({ name: nameOf("absent") })).rejects.toMatchObject({ reason: "QUOTA_NOT_FOUND" });
    expect(await quotas.getQuota({ name: nameOf("absent") })).toMatchObject({ limitBytes: 0, usedBytes: 0 });
  });
});

describe("without logins", () => {
  it("quotas hold too, and accounts may be made for later", async () => {
    await using open = await startRegistryCluster({ settings: { REGISTRY_AUTH: "none" } });
    const blob = randomBytes(2_000);
    const post = () =>
      sendOnce(open.url, "POST", withDigest("/v2/p/a/blobs/uploads/", digestOf(blob)), { headers: octets, body: blob });
    await open.quotas.setQuota({ name: nameOf("p"), limitBytes: 1_999 });
    expect((await post()).code).toBe("DENIED");
    await open.quotas.setQuota({ name: nameOf("p"), limitBytes: 2_000 });
    expect((await post()).status).toBe(201);
    await open.login("ann", "*");
    expect((await sendOnce(open.url, "GET", "/token")).status).toBe(404);
  });
});

describe("collection", () => {
  it("gives back what nobody refers to", async () => {
    await using own = await startRegistryCluster({
      settings: { REGISTRY_COLLECT_SECONDS: "0.2", REGISTRY_GRACE_SECONDS: "1" },
    });
    const pusher = await own.user("pusher", { "*": ["PUSH"] });
    const name = nameOf("left");
    await own.quotas.setQuota({ name, limitBytes: 5_000 });
    const blob = randomBytes(3_000);
    const path = withDigest("/v2/left/a/blobs/uploads/", digestOf(blob));
    expect((await pusher.send("POST", path, { headers: octets, body: blob })).status).toBe(201);
    expect((await own.quotas.getQuota({ name })).usedBytes).toBe(3_000);
    await expect
      .poll(async () => (await own.quotas.getQuota({ name })).usedBytes, { timeout: 30_000, interval: 200 })
      .toBe(0);
  });
});
