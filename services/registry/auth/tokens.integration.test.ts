import { randomBytes } from "node:crypto";
import { type CryptoKey, generateKeyPair, SignJWT, UnsecuredJWT } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#libs/clock";
import { digestOf } from "#libs/oci";
import { withDigest } from "../testing/conformance-client.ts";
import { type RegistryCluster, startRegistryCluster } from "../testing/registry-cluster.ts";
import { basicLogin, type RegistryUser, sendOnce } from "../testing/registry-user.ts";

let cluster: RegistryCluster;
let bob: RegistryUser;
/** How far the registry's clock is ahead, in ms. */
let now = 0;
const clock = { ...systemClock, now: () => new Date(Date.now() + now) };
const blob = randomBytes(1_000);
const digest = digestOf(blob);
const octets = { "content-type": "application/octet-stream" };
const patient = { timeout: 20_000 };
const tokenPath = (scope: string) => `/token?service=stillpoint-registry&scope=${encodeURIComponent(scope)}`;

/** Each replica by turns. */
const send = (method: string, path: string, headers = {}, body?: string | Buffer) =>
  sendOnce(cluster.url, method, path, { headers, ...(body !== undefined && { body }) });

async function tokenOf(headers: Record<string, string>, scope: string): Promise<string> {
  const answer = await send("GET", tokenPath(scope), headers);
  expect(answer.status).toBe(200);
  return JSON.parse(answer.body.toString()).token;
}

beforeAll(async () => {
  cluster = await startRegistryCluster({ replicas: 2, clock });
  await cluster.login("alice", "team-a/*");
  bob = await cluster.user("bob", { "team-b/*": ["PULL", "PUSH"] });
});
afterAll(() => cluster[Symbol.asyncDispose]());

describe("without a login", () => {
  it.each([
    ["GET", "/v2/", undefined],
    ["GET", "/v2/_catalog", "registry:catalog:*"],
    ["GET", "/v2/team-a/web/tags/list", "repository:team-a/web:pull"],
    ["HEAD", `/v2/team-a/web/blobs/${digest}`, "repository:team-a/web:pull"],
    ["POST", "/v2/team-a/web/blobs/uploads/", "repository:team-a/web:pull,push"],
    [
      "POST",
      `/v2/team-a/web/blobs/uploads/?mount=${digest}&from=b`,
      "repository:team-a/web:pull,push repository:b:pull",
    ],
    ["DELETE", "/v2/team-a/web/manifests/v1", "repository:team-a/web:delete"],
    ["GET", "/v2/nobody/has/this/manifests/v1", "repository:nobody/has/this:pull"],
  ])("%s %s is challenged", async (method, path, scope) => {
    const { status, headers } = await send(method, path);
    expect(status).toBe(401);
    const challenge = `Bearer realm="http://${new URL(cluster.url).host}/token",service="stillpoint-registry"`;
    expect(headers["www-authenticate"]).toBe(scope === undefined ? challenge : `${challenge},scope="${scope}"`);
  });

  it("no token is given, and none for a wrong password or name", async () => {
    for (const headers of [
      {},
      basicLogin("alice", "wrong"),
      basicLogin("nobody", "x"),
      { authorization: "Basic !!" },
    ]) {
      const answer = await send("GET", tokenPath("repository:team-a/web:pull"), headers);
      expect([answer.status, answer.code]).toEqual([401, "UNAUTHORIZED"]);
      expect(answer.headers["www-authenticate"]).toMatch(/^Basic /);
    }
  });
});

describe("a token", () => {
  it("is had by GET and by POST, lasts a quarter of an hour, and holds what was asked for and may be had", async () => {
    const login = await cluster.login("carol", "team-c/*");
    const scope = "repository:team-c/x:pull,push,delete repository:team-a/web:pull";
    const secret =
      Buffer.from(login.authorization?.slice(6) ?? "", "base64")
        .toString()
        .split(":")[1] ?? "";
    const form = new URLSearchParams({ grant_type: "password", username: "carol", password: secret, scope });
    const posted = await send(
      "POST",
      "/token",
      { "content-type": "application/x-www-form-urlencoded" },
      form.toString(),
    );
    for (const answer of [await send("GET", tokenPath(scope), login), posted]) {
      expect([answer.status, answer.headers["cache-control"]]).toEqual([200, "no-store"]);
      const body = JSON.parse(answer.body.toString());
      expect(body).toMatchObject({ expires_in: 900, scope: "repository:team-c/x:pull,push", token: body.access_token });
      const [, claims = ""] = body.token.split(".");
      expect(JSON.parse(Buffer.from(claims, "base64url").toString()).access).toEqual([
        { type: "repository", name: "team-c/x", actions: ["pull", "push"] },
      ]);
    }
    const refresh = await send("POST", "/token", {}, "grant_type=refresh_token&refresh_token=x");
    expect(refresh.status).toBe(400);
    expect((await send("GET", "/token?service=other", login)).status).toBe(400);
  });

  it("is good at every replica, for that repository and those actions alone", async () => {
    const login = await cluster.login("dave", "team-d/*");
    const authorization = `Bearer ${await tokenOf(login, "repository:team-d/x:pull")}`;
    for (const url of cluster.urls) {
      const absent = await sendOnce(url, "GET", "/v2/team-d/x/manifests/v1", { headers: { authorization } });
      expect([absent.status, absent.code]).toEqual([404, "MANIFEST_UNKNOWN"]);
      const insufficient = await sendOnce(url, "POST", "/v2/team-d/x/blobs/uploads/", { headers: { authorization } });
      expect(insufficient.status).toBe(401);
      expect(insufficient.headers["www-authenticate"]).toMatch(
        /scope="repository:team-d\/x:pull,push",error="insufficient_scope"$/,
      );
      expect((await sendOnce(url, "GET", "/v2/", { headers: { authorization } })).status).toBe(200);
    }
  });

  it("that is forged is worth nothing", async () => {
    const login = await cluster.login("erin", "team-e/*");
    const token = await tokenOf(login, "repository:team-e/x:pull");
    const [header = "", claims = "", signature = ""] = token.split(".");
    const payload = JSON.parse(Buffer.from(claims, "base64url").toString());
    const { kid } = JSON.parse(Buffer.from(header, "base64url").toString());
    const foreign = await generateKeyPair("ES256");
    const sign = (headers: object, key: CryptoKey | Uint8Array) =>
      new SignJWT(payload).setProtectedHeader({ alg: "ES256", kid, ...headers }).sign(key);
    const wider = Buffer.from(JSON.stringify({ ...payload, sub: "alice" })).toString("base64url");
    const forged = [
      new UnsecuredJWT(payload).encode(),
      await sign({}, foreign.privateKey),
      await sign({ kid: "key-other" }, foreign.privateKey),
      await sign({ kid: undefined }, foreign.privateKey),
      await sign({ alg: "HS256" }, Buffer.from(JSON.stringify(kid).padEnd(32, "x"))),
      `${header}.${wider}.${signature}`,
      `${header}.${claims}.`,
      `${header}.${claims}`,
      "x",
    ];
    for (const each of forged) {
      const answer = await send("GET", "/v2/", { authorization: `Bearer ${each}` });
      expect([answer.status, answer.code]).toEqual([401, "UNAUTHORIZED"]);
      expect(answer.headers["www-authenticate"]).toMatch(/error="invalid_token"$/);
    }
    expect((await send("GET", "/v2/", { authorization: `Bearer ${token}` })).status).toBe(200);
  });

  it("dies with its account, with the account's secret, and with a right that is taken away", async () => {
    const name = "registry/accounts/frank";
    const login = await cluster.login("frank", "team-f/*");
    const headers = { authorization: `Bearer ${await tokenOf(login, "repository:team-f/x:pull")}` };
    const status = async () => (await send("GET", "/v2/team-f/x/tags/list", headers)).status;
    const code = async () => (await send("GET", "/v2/team-f/x/tags/list", headers)).code;
    expect([await status(), await code()]).toEqual([404, "NAME_UNKNOWN"]);
    await cluster.accounts.setAccountSecret({ name, secret: "another long password" });
    // At both replicas.
    await expect.poll(status, patient).toBe(401);
    await expect.poll(status, patient).toBe(401);
    expect((await send("GET", "/v2/", basicLogin("frank", "another long password"))).status).toBe(200);
    await cluster.accounts.deleteAccount({ name });
    await expect
      .poll(async () => (await send("GET", "/v2/", basicLogin("frank", "another long password"))).status, patient)
      .toBe(401);
    expect((await send("GET", tokenPath(""), basicLogin("frank", "another long password"))).status).toBe(401);
  });

  it("signed with a key that others followed is good still", async () => {
    const login = await cluster.login("grace", "team-g/*");
    const old = await tokenOf(login, "repository:team-g/x:pull");
    const { keyId } = await cluster.accounts.rotateTokenKey({});
    expect(keyId).toMatch(/^key-/);
    for (const token of [old, await tokenOf(login, "repository:team-g/x:pull")]) {
      expect((await send("GET", "/v2/", { authorization: `Bearer ${token}` })).status).toBe(200);
    }
  });
});

describe("uploads", () => {
  it("may be ended with a token that has expired meanwhile, by whoever began them and by nobody else", async () => {
    const [kim, lee] = [await cluster.login("kim", "team-k/*"), await cluster.login("lee", "team-k/*")];
    const scope = "repository:team-k/x:pull,push";
    const bearer = async (login: Record<string, string>) => ({
      authorization: `Bearer ${await tokenOf(login, scope)}`,
    });
    const [hers, others] = [await bearer(kim), await bearer(lee)];
    const { headers } = await send("POST", "/v2/team-k/x/blobs/uploads/", hers);
    const location = headers.location ?? "";
    now += 20 * 60_000;
    expect((await send("POST", "/v2/team-k/x/blobs/uploads/", hers)).status).toBe(401);
    expect((await send("PATCH", location, others, blob)).status).toBe(401);
    expect((await send("PATCH", location, { ...octets, ...hers }, blob.subarray(0, 500))).status).toBe(202);
    expect((await send("GET", location, hers)).headers.range).toBe("0-499");
    const put = await send("PUT", withDigest(location, digest), { ...octets, ...hers }, blob.subarray(500));
    expect(put.status).toBe(201);
    expect((await send("HEAD", `/v2/team-k/x/blobs/${digest}`, hers)).status).toBe(401);
  });

  it("go on at the same byte with a new token, once the old one is too old for that too", async () => {
    const kate = await cluster.login("kate", "team-k/*");
    const scope = "repository:team-k/y:pull,push";
    const bearer = async () => ({ authorization: `Bearer ${await tokenOf(kate, scope)}`, ...octets });
    const old = await bearer();
    const location = (await send("POST", "/v2/team-k/y/blobs/uploads/", old)).headers.location ?? "";
    const sendFrom = (first: number, headers: Record<string, string>) => {
      const range = { "content-range": `${first}-${first + 99}` };
      return send("PATCH", location, { ...headers, ...range }, blob.subarray(first, first + 100));
    };
    expect((await sendFrom(0, old)).status).toBe(202);
    now += 25 * 3_600_000;
    const refused = await sendFrom(100, old);
    expect([refused.status, refused.code]).toEqual([401, "UNAUTHORIZED"]);
    expect(refused.headers["www-authenticate"]).toContain(`scope="${scope}",error="invalid_token"`);
    const fresh = await bearer();
    expect((await send("GET", location, fresh)).headers.range).toBe("0-99");
    expect((await sendFrom(100, fresh)).headers.range).toBe("0-199");
    const put = await send("PUT", withDigest(location, digest), fresh, blob.subarray(200));
    expect(put.status).toBe(201);
  });

  it("belong to whoever began them", async () => {
    const login = await cluster.login("ivan", "team-b/*");
    const started = await bob.send("POST", "/v2/team-b/own/blobs/uploads/");
    const location = started.headers.location ?? "";
    for (const method of ["GET", "PATCH", "PUT", "DELETE"]) {
      expect((await send(method, withDigest(location, digest), login)).code || "HEAD").toBe("BLOB_UPLOAD_UNKNOWN");
    }
    const put = await bob.send("PUT", withDigest(location, digest), { headers: octets, body: blob });
    expect(put.status).toBe(201);
  });
});

describe("failed logins", () => {
  it("are limited by name over all replicas; who is logged in goes on", async () => {
    const login = await cluster.login("judy", "team-j/*");
    expect((await send("GET", "/v2/", login)).status).toBe(200);
    const codes: string[] = [];
    for (let attempt = 0; attempt < 12; attempt += 1)
      codes.push((await send("GET", "/v2/", basicLogin("judy", "guess"))).code);
    expect(codes).toEqual([...Array(10).fill("UNAUTHORIZED"), "TOOMANYREQUESTS", "TOOMANYREQUESTS"]);
    const refused = await send("GET", tokenPath(""), basicLogin("judy", "guess again"));
    expect([refused.status, refused.headers["retry-after"]]).toEqual([429, "60"]);
    const known = await Promise.all(cluster.urls.map((url) => sendOnce(url, "GET", "/v2/", { headers: login })));
    expect(known.map(({ status }) => status)).toContain(200);
  });
});
