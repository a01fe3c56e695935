import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { type IncomingMessage, request as startRequest } from "node:http";
import { Readable } from "node:stream";
import { json } from "node:stream/consumers";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOf, mediaTypes } from "#libs/oci";
import { eventually, startRedis, type TestServer } from "#libs/testing";
import { pushManifest } from "../http/oci-fixture.ts";
import { type RegistryReplica, startReplica } from "../testing/registry-replica.ts";
import { startRoundRobin } from "../testing/round-robin.ts";
import { startBucket, startFolder } from "../testing/store-places.ts";
import { keys } from "./keys.ts";

const MIB = 2 ** 20;
const run = promisify(execFile);

interface Place {
  readonly settings: NodeJS.ProcessEnv;
  /** What of uploads lies in the store, finished or not. */
  remains(): Promise<string[]>;
}

async function openFolder(ending: AsyncDisposableStack): Promise<Place> {
  const { path, settings } = await startFolder(ending);
  const names = async (folder: string) => await readdir(`${path}/${folder}`).catch(() => []);
  return { settings, remains: async () => [...(await names("tmp")), ...(await names("uploads"))] };
}

async function openBucket(ending: AsyncDisposableStack): Promise<Place> {
  const { settings, objects, unfinished } = await startBucket(ending);
  return { settings, remains: async () => [...(await unfinished()), ...(await objects.list(keys.pieces))] };
}

const startUpload = async (url: string) =>
  (await fetch(`${url}/v2/team/app/blobs/uploads/`, { method: "POST" })).headers.get("location") ?? "";

const sendChunk = (url: string, body: Buffer, range: string) =>
  fetch(url, { method: "PATCH", body: new Uint8Array(body), headers: { "content-range": range } });

async function digestAt(url: string, digest: string): Promise<string> {
  const hash = createHash("sha256");
  const response = await fetch(`${url}/v2/team/app/blobs/${digest}`);
  for await (const bytes of response.body ?? []) hash.update(bytes);
  return `sha256:${hash.digest("hex")}`;
}

/** Pushes a blob chunk by chunk, each to whoever comes next, and each again, as clients do that got no answer. */
async function pushInChunks(urls: readonly string[], blob: Buffer, chunkBytes: number): Promise<string> {
  let turn = 0;
  const next = () => urls[turn++ % urls.length] ?? "";
  const location = await startUpload(next());
  for (let first = 0; first < blob.length; first += chunkBytes) {
    const body = blob.subarray(first, first + chunkBytes);
    const range = `${first}-${first + body.length - 1}`;
    expect((await sendChunk(`${next()}${location}`, body, range)).status).toBe(202);
    const again = await sendChunk(`${urls[turn % urls.length]}${location}`, body, range);
    expect([again.status, again.headers.get("range")]).toEqual([416, `0-${first + body.length - 1}`]);
  }
  const digest = digestOf(blob);
  expect((await fetch(`${next()}${location}?digest=${digest}`, { method: "PUT" })).status).toBe(201);
  return digest;
}

describe.each([
  ["a folder", openFolder],
  ["S3", openBucket],
] as const)("two replicas over %s", (_name, open) => {
  const ending = new AsyncDisposableStack();
  let place: Place;
  let redis: TestServer;
  let replicas: RegistryReplica[];
  let url: string;
  let urls: string[];

  beforeAll(async () => {
    place = await open(ending);
    redis = ending.use(await startRedis());
    const settings = { ...place.settings, REDIS_URL: redis.url };
    replicas = [ending.use(await startReplica(settings)), ending.use(await startReplica(settings))];
    urls = replicas.map((replica) => replica.url);
    url = ending.use(await startRoundRobin(urls)).url;
  });

  afterAll(() => ending.disposeAsync());

  const atAll = <Result>(ask: (replica: RegistryReplica) => Promise<Result>) => Promise.all(replicas.map(ask));

  it("take chunks in turn from several clients, and show the same at once", async () => {
    const blobs = [300_000, 2 * MIB, 13 * MIB].map((size) => randomBytes(size));
    const digests = await Promise.all(blobs.map((blob) => pushInChunks(urls, blob, Math.ceil(blob.length / 4))));
    for (const digest of digests) expect(await atAll(({ url }) => digestAt(url, digest))).toEqual([digest, digest]);
    expect(await place.remains()).toEqual([]);
  });

  it("show tags, and that a manifest is gone with its tags, at once", async () => {
    const [one, two] = await Promise.all(
      ["one", "two"].map((tag) => pushManifest(url, "team/app", tag, { extra: { tag } })),
    );
    const digestOfTag = async ({ url }: RegistryReplica, tag: string) =>
      (await fetch(`${url}/v2/team/app/manifests/${tag}`)).headers.get("docker-content-digest");
    expect(await atAll((replica) => digestOfTag(replica, "one"))).toEqual([one?.digest, one?.digest]);
    await fetch(`${url}/v2/team/app/manifests/${one?.digest}`, { method: "DELETE" });
    const tagsAt = async ({ url }: RegistryReplica) => await (await fetch(`${url}/v2/team/app/tags/list`)).json();
    expect(await atAll(tagsAt)).toEqual([1, 2].map(() => ({ name: "team/app", tags: ["two"] })));
    expect(await atAll((replica) => digestOfTag(replica, "one"))).toEqual([null, null]);
    await pushManifest(url, "team/app", "two", { extra: { tag: "three" } });
    expect(await atAll((replica) => digestOfTag(replica, "two"))).not.toContain(two?.digest);
  });

  it("one killed in the middle of a chunk: the other takes the upload on, and the next sweep leaves nothing", async () => {
    const [first, second] = replicas;
    if (first === undefined || second === undefined) throw new Error("there are two");
    const blob = randomBytes(24 * MIB);
    const location = await startUpload(first.url);
    const begun = blob.subarray(0, 4 * MIB);
    expect((await sendChunk(`${first.url}${location}`, begun, `0-${begun.length - 1}`)).status).toBe(202);
    const cut = startRequest(`${first.url}${location}`, { method: "PATCH", headers: { "content-length": 20 * MIB } });
    const ended = new Promise((resolve) => cut.on("error", resolve));
    cut.write(blob.subarray(4 * MIB, 23 * MIB));
    await eventually(async () => (await place.remains()).length > 1);
    await first.kill();
    await ended;
    const found = await fetch(`${second.url}${location}`);
    expect([found.status, found.headers.get("range")]).toEqual([204, `0-${begun.length - 1}`]);
    const rest = await sendChunk(`${second.url}${location}`, blob.subarray(4 * MIB), `${4 * MIB}-${24 * MIB - 1}`);
    expect(rest.status).toBe(202);
    const digest = digestOf(blob);
    expect((await fetch(`${second.url}${location}?digest=${digest}`, { method: "PUT" })).status).toBe(201);
    expect(await digestAt(second.url, digest)).toBe(digest);
    await first.start();
    expect(await digestAt(first.url, digest)).toBe(digest);
    await eventually(async () => await sweptBySweeper(), { deadlineMs: 20_000 });
  });

  /** A replica whose uploads are old after a second sweeps when it starts. */
  async function sweptBySweeper(): Promise<boolean> {
    await using sweeper = await startReplica({
      ...place.settings,
      REDIS_URL: redis.url,
      REGISTRY_UPLOAD_TTL_SECONDS: "1",
    });
    const isSwept = async () => sweeper.pid > 0 && (await place.remains()).length === 0;
    return await eventually(isSwept, { deadlineMs: 2_000 });
  }

  it("lose open uploads with Redis, and no image; mounts without a source find it again when it is used", async () => {
    const blob = randomBytes(100_000);
    const digest = await pushInChunks(urls, blob, 40_000);
    const open = await startUpload(url);
    const mount = (repository: string) =>
      fetch(`${url}/v2/${repository}/blobs/uploads/?mount=${digest}`, { method: "POST" });
    expect((await mount("team/before")).status).toBe(201);
    await run("redis-cli", ["-p", `${redis.port}`, "FLUSHALL"]);
    expect((await fetch(`${url}${open}`)).status).toBe(404);
    for (const replica of replicas) expect(await digestAt(replica.url, digest)).toBe(digest);

    const begun = await mount("team/flushed");
    expect(begun.status).toBe(202);
    const target = `${url}${begun.headers.get("location")}?digest=${digest}`;
    expect((await fetch(target, { method: "PUT", body: new Uint8Array(blob) })).status).toBe(201);
    await pushManifest(url, "team/app", "config");
    await run("redis-cli", ["-p", `${redis.port}`, "FLUSHALL"]);
    await pushManifest(url, "team/app", "hinted", { layers: [blob], areLayersThere: true });
    expect((await mount("team/after")).status).toBe(201);
  });
});

it("who wants the connection closed reads why it is refused, however much it has still to send", async () => {
  await using ending = new AsyncDisposableStack();
  const { settings } = await startFolder(ending);
  const redis = ending.use(await startRedis());
  const replica = ending.use(await startReplica({ ...settings, REDIS_URL: redis.url }));
  for (let round = 0; round < 5; round += 1) {
    const target = `${replica.url}/v2/team/app/manifests/large`;
    const headers = { "content-type": mediaTypes.manifest };
    const put = startRequest(target, { method: "PUT", agent: false, headers });
    // What it sends after the answer may find the connection closed.
    put.on("error", () => {});
    Readable.from(pieces(30 * MIB)).pipe(put);
    const closed = once(put, "close");
    const [answer] = (await once(put, "response")) as [IncomingMessage];
    expect([answer.statusCode, await json(answer)]).toMatchObject([413, { errors: [{ code: "SIZE_INVALID" }] }]);
    await closed;
  }
});

function* pieces(sizeBytes: number) {
  for (let sent = 0; sent < sizeBytes; sent += 65_536) yield Buffer.alloc(65_536);
}
