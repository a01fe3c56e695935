import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOf } from "#libs/oci";
import { withDigest } from "../testing/conformance-client.ts";
import { type RegistryCluster, startRegistryCluster } from "../testing/registry-cluster.ts";
import { basicLogin, type RegistryUser, sendOnce } from "../testing/registry-user.ts";

let cluster: RegistryCluster;
let alice: RegistryUser;
let bob: RegistryUser;
const blob = randomBytes(1_000);
const digest = digestOf(blob);
const octets = { "content-type": "application/octet-stream" };

const send = (method: string, path: string, headers = {}) => sendOnce(cluster.url, method, path, { headers });

beforeAll(async () => {
  cluster = await startRegistryCluster({ replicas: 2 });
  alice = await cluster.user("alice", { "team-a/*": ["PULL", "PUSH", "DELETE"], shared: ["PULL"] });
  bob = await cluster.user("bob", { "team-b/*": ["PULL", "PUSH"], shared: ["PULL", "PUSH"] });
  const path = withDigest("/v2/team-a/web/blobs/uploads/", digest);
  expect((await alice.send("POST", path, { headers: octets, body: blob })).status).toBe(201);
});
afterAll(() => cluster[Symbol.asyncDispose]());

describe("rights", () => {
  it("what may not be read looks the same as what is not there, by every way", async () => {
    const login = { name: "mallory" };
    const mallory = await cluster.user(login.name, { "team-m/*": ["PULL", "PUSH"] });
    for (const [method, path] of [
      ["GET", "/v2/%/tags/list"],
      ["GET", "/v2/%/manifests/v1"],
      ["HEAD", `/v2/%/blobs/${digest}`],
      ["GET", `/v2/%/blobs/${digest}`],
      ["GET", `/v2/%/referrers/${digest}`],
      ["POST", "/v2/%/blobs/uploads/"],
      ["PUT", "/v2/%/manifests/v1"],
      ["DELETE", "/v2/%/manifests/v1"],
      ["DELETE", `/v2/%/blobs/${digest}`],
    ] as const) {
      const there = await mallory.send(method, path.replace("%", "team-a/web"));
      const absent = await mallory.send(method, path.replace("%", "team-a/absent"));
      expect([there.status, there.body.toString()]).toEqual([absent.status, absent.body.toString()]);
      expect([403, 404]).toContain(there.status);
    }
  });

  it("mounting shows nothing of other projects: an upload begins as for a blob that nobody has", async () => {
    for (const query of [`mount=${digest}&from=team-a/web`, `mount=${digest}`, `mount=${digestOf(randomBytes(9))}`]) {
      const answer = await bob.send("POST", `/v2/team-b/x/blobs/uploads/?${query}`);
      expect([answer.status, answer.headers.range]).toEqual([202, "0-0"]);
    }
    expect((await bob.send("HEAD", `/v2/team-b/x/blobs/${digest}`)).status).toBe(404);
  });

  it("the catalog shows what may be pulled", async () => {
    const { bytes } = await pushImage(alice, "team-a/listed");
    await pushImage(bob, "shared");
    await pushImage(alice, "team-a/web");
    expect(bytes.length).toBeGreaterThan(0);
    const names = async (user: RegistryUser) =>
      JSON.parse((await user.send("GET", "/v2/_catalog")).body.toString()).repositories;
    expect(await names(alice)).toEqual(["shared", "team-a/listed", "team-a/web"]);
    expect(await names(bob)).toEqual(["shared"]);
  });

  it("name and password in each request do as well as a token, within the rights", async () => {
    const login = await cluster.login("heidi", "team-h/*");
    expect((await send("GET", "/v2/", login)).status).toBe(200);
    expect((await send("POST", "/v2/team-h/x/blobs/uploads/", login)).status).toBe(202);
    expect((await send("DELETE", "/v2/team-h/x/manifests/v1", login)).code).toBe("DENIED");
    expect((await send("GET", "/v2/team-a/web/tags/list", login)).code).toBe("NAME_UNKNOWN");
  });
});

describe("accounts", () => {
  it("are listed and shown without their secrets; robots choose none; bad rights and names are refused", async () => {
    const { accounts } = cluster;
    const name = "registry/accounts/ci";
    const made = await accounts.createAccount({ name, kind: "ACCOUNT_KIND_ROBOT", rights: [] });
    expect(made.secret).toMatch(/^spr_[\w-]{43}$/);
    const shown = JSON.stringify([await accounts.getAccount({ name }), await accounts.listAccounts({})]);
    expect(shown).toContain(name);
    expect(shown).not.toMatch(/scrypt|spr_|secret/i);
    const create = (change: object) =>
      accounts.createAccount({ name: "registry/accounts/x", kind: "ACCOUNT_KIND_USER", rights: [], ...change });
    await expect(create({ name })).rejects.toMatchObject({ reason: "ACCOUNT_EXISTS" });
    await expect(create({ name: "registry/accounts/X" })).rejects.toMatchObject({ reason: "NAME_INVALID" });
    await expect(create({ secret: "short" })).rejects.toMatchObject({ reason: "ARGUMENT_INVALID" });
    const robot = { kind: "ACCOUNT_KIND_ROBOT", secret: "a long enough secret" };
    await expect(create(robot)).rejects.toMatchObject({ reason: "ARGUMENT_INVALID" });
    for (const repositories of ["", "a*", "*/a", "a/*/b", "A", "../x", "**"]) {
      const rights = [{ repositories, actions: ["REPOSITORY_ACTION_PULL"] }];
      await expect(create({ rights })).rejects.toMatchObject({ reason: "ARGUMENT_INVALID" });
    }
    await expect(accounts.getAccount({ name: "registry/accounts/none" })).rejects.toMatchObject({
      reason: "ACCOUNT_NOT_FOUND",
    });
  });

  it("one that has expired lets nobody in", async () => {
    const { secret } = await cluster.accounts.createAccount({
      name: "registry/accounts/short-lived",
      kind: "ACCOUNT_KIND_ROBOT",
      rights: [],
      expireTime: new Date(Date.now() - 1_000),
    });
    expect((await send("GET", "/v2/", basicLogin("short-lived", secret))).status).toBe(401);
  });
});

async function pushImage(user: RegistryUser, repository: string) {
  const config = Buffer.from("{}");
  const upload = withDigest(`/v2/${repository}/blobs/uploads/`, digestOf(config));
  await user.send("POST", upload, { headers: octets, body: config });
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const descriptor = { mediaType: "application/vnd.oci.empty.v1+json", digest: digestOf(config), size: 2 };
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config: descriptor, layers: [] }));
  const put = await user.send("PUT", `/v2/${repository}/manifests/v1`, {
    headers: { "content-type": mediaType },
    body: bytes,
  });
  expect(put.status).toBe(201);
  return { bytes };
}
