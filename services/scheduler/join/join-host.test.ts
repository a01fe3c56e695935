import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { CreateJoinTokenRequest, Host, HostIdentity, JoinTokenRecord } from "#contracts/scheduler/v1/scheduler";
import { type Clock, systemRandom as random, systemClock } from "#libs/clock";
import { createMemoryLog, createRecordStore, decodeRecord, RecordView } from "#libs/records";
import { temporaryFolder } from "#libs/testing";
import { Authority, fingerprintOf, identityOf, makeRequest } from "#libs/tls";
import { joinHost } from "./join-host.ts";
import { JoinTokens } from "./join-tokens.ts";

const folder = temporaryFolder();
const authority = new Authority(join(folder.path, "authority"));
let one: string;
let other: string;

beforeAll(async () => {
  await authority.create({ days: 2 });
  one = await makeRequest("hosts/n1", join(folder.path, "one.key"));
  other = await makeRequest("svc/vm", join(folder.path, "other.key"));
});

afterAll(() => folder[Symbol.asyncDispose]());

/** The scheduler's parts that have machines join, over a memory log, with a clock that the test moves. */
async function startJoins() {
  const ending = new AbortController();
  const { signal } = ending;
  let aheadMs = 0;
  const clock: Clock = { ...systemClock, now: () => new Date(Date.now() + aheadMs) };
  const log = createMemoryLog(systemClock);
  const store = createRecordStore({ log, codec: JoinTokenRecord, clock, random });
  const view = await RecordView.start({ log, filter: "rec.join-tokens.*", codec: JoinTokenRecord, signal });
  const tokens = new JoinTokens({ store, view, clock });
  const hosts = createRecordStore({ log, codec: Host, clock, random });
  const identities = createRecordStore({ log, codec: HostIdentity, clock, random });
  const deps = { tokens, hosts, identities, clock, random, days: 2, settings: { NATS_URL: "nats://nats:4222" } };
  return {
    ...{ log, tokens, hosts, identities, view },
    token: async (asked: Partial<CreateJoinTokenRequest> = {}) =>
      (await tokens.create(authority, CreateJoinTokenRequest.fromPartial(asked))).token,
    join: (token: string, host = "hosts/n1", certificateRequest = one) =>
      joinHost(deps, authority, { token, host, certificateRequest }),
    pass: (ms: number) => {
      aheadMs += ms;
    },
    [Symbol.dispose]: () => ending.abort(),
  };
}

const refused = { reason: "JOIN_TOKEN_INVALID", message: "the token is not good for this host, or no more" };

test("a token is traded for a certificate in the host's name, whatever the request says", async () => {
  using joins = await startJoins();
  const token = await joins.token({ zone: "z1", labels: { disk: "ssd", tier: "web" } });
  const answer = await joins.join(token, "hosts/n1", other);
  const certificate = new X509Certificate(answer.certificate);
  expect(identityOf(certificate.subjectAltName)).toBe("host/n1");
  expect(certificate.subject).toBe("CN=host/n1");
  expect(certificate.ca).toBe(false);
  expect(certificate.verify(new X509Certificate(answer.authority).publicKey)).toBe(true);
  expect(answer.settings).toEqual({
    AGENT_HOST_NAME: "n1",
    NATS_URL: "nats://nats:4222",
    AGENT_ZONE: "z1",
    AGENT_LABELS: "disk=ssd,tier=web",
  });
  const message = await joins.log.read("rec.hosts.n1.identity");
  expect(message && decodeRecord(message.data).events).toMatchObject([
    { aggregate: "host", happened: "joined", data: { certificate: fingerprintOf(answer.certificate) } },
  ]);
  expect(statSync(join(folder.path, "one.key")).mode & 0o777).toBe(0o600);
});

test("a token is good once; for the same key and name its answer is given again", async () => {
  using joins = await startJoins();
  const token = await joins.token();
  await joins.join(token);
  expect((await joins.join(token)).certificate).toContain("BEGIN CERTIFICATE");
  await expect(joins.join(token, "hosts/n1", other)).rejects.toMatchObject(refused);
  await expect(joins.join(token, "hosts/n2")).rejects.toMatchObject(refused);
  const shared = await joins.token();
  const [first, second] = await Promise.allSettled(
    [one, other].map(async (request) => joins.join(shared, "hosts/n3", request)),
  );
  expect(new Set([first?.status, second?.status])).toEqual(new Set(["fulfilled", "rejected"]));
});

test.each([
  ["unknown", async () => `join1.${"x".repeat(43)}.${"0".repeat(64)}`],
  ["no token at all", async () => "secret"],
  ["for another name", async (joins: Awaited<ReturnType<typeof startJoins>>) => joins.token({ host: "hosts/n2" })],
  [
    "expired",
    async (joins: Awaited<ReturnType<typeof startJoins>>) => {
      const token = await joins.token({ ttl: { seconds: 60, nanos: 0 } });
      joins.pass(60_001);
      return token;
    },
  ],
])("a token that is %s is refused as any other", async (_what, tokenOf) => {
  using joins = await startJoins();
  const token = await tokenOf(joins);
  await expect(joins.join(token)).rejects.toMatchObject(refused);
  expect(await joins.identities.get("hosts/n1/identity")).toBeUndefined();
});

test("a token for any name is not one for a host that there is; one for that name is", async () => {
  using joins = await startJoins();
  await joins.hosts.create("hosts/n1", { uid: "host-1", body: Host.fromPartial({ name: "hosts/n1" }) });
  const any = await joins.token();
  await expect(joins.join(any)).rejects.toMatchObject({ reason: "HOST_EXISTS" });
  await joins.join(any, "hosts/n2");
  await expect(joins.join(await joins.token(), "hosts/n2", other)).rejects.toMatchObject({ reason: "HOST_EXISTS" });
  await joins.join(await joins.token({ host: "hosts/n1" }));
});

test("only the hash of a token is kept, and not for ever", async () => {
  using joins = await startJoins();
  const token = await joins.token();
  const kept = JSON.stringify(joins.view.list());
  expect(kept).toContain("join-tokens/");
  expect(kept).not.toContain(token.split(".")[1]);
  joins.pass(24 * 3_600_000);
  await joins.tokens.sweep();
  expect(joins.view.list()).toHaveLength(1);
  joins.pass(3_600_001);
  await joins.tokens.sweep();
  await expect.poll(() => joins.view.list()).toEqual([]);
});

test("what is no request, or has another kind of key, gets nothing and uses nothing up", async () => {
  using joins = await startJoins();
  const token = await joins.token();
  const rsa = execFileSync(
    "openssl",
    ["req", "-new", "-newkey", "rsa:2048", "-noenc", "-keyout", join(folder.path, "rsa.key"), "-subj", "/CN=x"],
    { encoding: "utf8", stdio: "pipe" },
  );
  const forged = one.replace(/.{4}\n-----END/, "AAAA\n-----END");
  for (const request of [
    "",
    "nonsense",
    "x".repeat(20_000),
    rsa,
    forged,
    readFileSync(authority.certificate, "utf8"),
  ]) {
    await expect(joins.join(token, "hosts/n1", request)).rejects.toMatchObject({
      reason: "CERTIFICATE_REQUEST_INVALID",
    });
  }
  await expect(joins.join(token, "hosts/N1")).rejects.toMatchObject({ reason: "NAME_INVALID" });
  await joins.join(token);
});

test("without an authority nothing is made", async () => {
  using joins = await startJoins();
  const none = new Authority(join(folder.path, "none"));
  await expect(joins.tokens.create(none, CreateJoinTokenRequest.fromPartial({}))).rejects.toMatchObject({
    reason: "CERTIFICATE_AUTHORITY_MISSING",
  });
  await expect(joins.token({ ttl: { seconds: 59, nanos: 0 } })).rejects.toMatchObject({ reason: "ARGUMENT_INVALID" });
  await expect(joins.token({ zone: "a b" })).rejects.toMatchObject({ reason: "ARGUMENT_INVALID" });
});
