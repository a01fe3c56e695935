import { randomBytes, randomInt } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { digestOf, mediaTypes } from "#libs/oci";
import {
  eventually,
  freePort,
  startRedis,
  type TemporaryFolder,
  type TestServer,
  temporaryFolder,
} from "#libs/testing";
import { pushBlob, pushManifest } from "../http/oci-fixture.ts";
import { type RegistryReplica, startReplica } from "../testing/registry-replica.ts";

/** How long clients work at random; minutes for a long run. */
const RANDOM_MS = Number(process.env.REGISTRY_COLLECT_SECONDS ?? 10) * 1_000;
const CLIENTS = 4;
const PUSHES_BETWEEN_KILLS = 60;

let folder: TemporaryFolder;
let redis: TestServer;
let replicas: RegistryReplica[];
let metricsPorts: number[];

beforeAll(async () => {
  folder = temporaryFolder();
  redis = await startRedis();
  const settings = {
    REGISTRY_DATA: folder.path,
    REDIS_URL: redis.url,
    REGISTRY_COLLECT_SECONDS: "0.2",
    REGISTRY_GRACE_SECONDS: "1",
    REGISTRY_UNTAGGED_SECONDS: "1",
    REGISTRY_VERIFY_SECONDS: "3",
  };
  metricsPorts = [await freePort(), await freePort()];
  replicas = await Promise.all(
    metricsPorts.map((port) => startReplica({ ...settings, METRICS_ADDRESS: `127.0.0.1:${port}` })),
  );
}, 30_000);

afterAll(async () => {
  for (const replica of replicas ?? []) await replica[Symbol.asyncDispose]();
  await redis?.[Symbol.asyncDispose]();
  await folder?.[Symbol.asyncDispose]();
});

const anyUrl = () => replicas[randomInt(replicas.length)]?.url ?? "";
const status = async (path: string, method = "GET") => (await fetch(`${anyUrl()}${path}`, { method })).status;
const metricsAt = async (port: number) => await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
const contents = async () => {
  const names = await readdir(join(folder.path, "blobs"), { recursive: true }).catch(() => []);
  return new Set(names.filter((name) => /[0-9a-f]{64}$/.test(name)).map((name) => `sha256:${name.slice(-64)}`));
};

describe("collection", () => {
  test("keeps what a tag needs: children of an index, referrers, lineage; and deletes what is let go", async () => {
    const url = anyUrl();
    const layers = Array.from({ length: 5 }, () => randomBytes(1_000));
    const push = (reference: string, layer: number, extra: object = {}) =>
      pushManifest(url, "kept/image", reference, { layers: layers.slice(layer, layer + 1), extra });
    const child = await push("", 0);
    const index = {
      ...{ schemaVersion: 2, mediaType: mediaTypes.index, manifests: [child.descriptor] },
    };
    const put = await fetch(`${url}/v2/kept/image/manifests/multi`, {
      method: "PUT",
      body: JSON.stringify(index),
      headers: { "content-type": mediaTypes.index },
    });
    expect(put.status).toBe(201);
    const parent = await push("", 1, { annotations: { n: "1" } });
    const checkpoint = await push("checkpoint", 2, { subject: parent.descriptor });
    const receipt = await push("", 3, { subject: checkpoint.descriptor });
    const lost = await push("", 4, { annotations: { n: "4" } });

    // Asking the registry for it would keep it.
    const lostLayer = digestOf(layers[4] ?? Buffer.alloc(0));
    await eventually(async () => !(await contents()).has(lostLayer), { deadlineMs: 15_000 });
    expect(await status(`/v2/kept/image/manifests/${lost.digest}`)).toBe(404);
    const kept = [child, parent, checkpoint, receipt];
    for (const { digest } of kept) expect(await status(`/v2/kept/image/manifests/${digest}`)).toBe(200);
    for (const layer of layers.slice(0, 4)) expect((await contents()).has(digestOf(layer))).toBe(true);

    // A second repository holds one of the layers.
    await pushManifest(url, "kept/other", "v1", { layers: layers.slice(0, 1), extra: { annotations: { n: "other" } } });
    for (const tag of ["multi", "checkpoint"])
      expect(await status(`/v2/kept/image/manifests/${tag}`, "DELETE")).toBe(202);
    const gone = [...kept.map(({ digest }) => digest), ...layers.slice(1).map((layer) => digestOf(layer))];
    await eventually(
      async () => {
        const left = await contents();
        return gone.every((digest) => !left.has(digest));
      },
      { deadlineMs: 20_000 },
    );
    const shared = digestOf(layers[0] ?? Buffer.alloc(0));
    const links = join(folder.path, "repositories/kept/image/_blobs/sha256");
    await eventually(async () => !(await readdir(links)).includes(shared.slice("sha256:".length)), {
      deadlineMs: 15_000,
    });
    expect(await status(`/v2/kept/image/blobs/${shared}`, "HEAD")).toBe(404);
    expect(await status(`/v2/kept/other/blobs/${shared}`)).toBe(200);

    const metrics = await Promise.all(metricsPorts.map(async (port) => await metricsAt(port)));
    const reclaimed = metrics.map((text) =>
      Number(/^stillpoint_registry_reclaimed_bytes_total (\d+)/m.exec(text)?.[1]),
    );
    expect(reclaimed.reduce((sum, bytes) => sum + bytes, 0)).toBeGreaterThan(4_000);
    const requests = /^stillpoint_registry_request_duration_seconds_count\{request="putManifest",status="201"\} \d/m;
    expect(metrics.join()).toMatch(requests);
  }, 60_000);

  test("takes the blobs of a push that was given up", async () => {
    const blob = await collected();
    expect(await status(`/v2/given/up/blobs/${digestOf(blob)}`, "HEAD")).toBe(404);
  }, 120_000);

  test(
    "loses nothing while clients push, mount, delete and re-tag at random, and a replica is killed",
    async () => {
      const end = performance.now() + RANDOM_MS;
      const clients = Array.from({ length: CLIENTS }, (_, number) => new Client(`random/c${number}`));
      const killer = killSometimes(end, () => clients.reduce((sum, client) => sum + client.pushes, 0));
      await Promise.all(clients.map((client) => client.work(end)));
      await killer;
      expect(clients.reduce((sum, client) => sum + client.pushes, 0)).toBeGreaterThan(20);
      for (const client of clients) expect(await client.broken()).toEqual([]);
      await collected();
      for (const client of clients) expect(await client.broken()).toEqual([]);
    },
    RANDOM_MS + 180_000,
  );
});

/**
 * What was garbage before has been collected when it resolves: a blob of a push that was given up only now has. After a
 * collector that was killed in the middle, that takes until its deletions cannot come any more.
 */
async function collected(): Promise<Buffer> {
  const blob = randomBytes(500);
  expect((await pushBlob(anyUrl(), "given/up", blob)).status).toBe(201);
  await eventually(async () => !(await contents()).has(digestOf(blob)), { deadlineMs: 90_000 });
  return blob;
}

/** One replica each time that the clients have pushed some more. */
async function killSometimes(end: number, pushes: () => number): Promise<void> {
  while (performance.now() < end - 3_000) {
    const next = pushes() + PUSHES_BETWEEN_KILLS;
    await eventually(() => pushes() >= next || performance.now() >= end, { deadlineMs: RANDOM_MS + 10_000 });
    const replica = replicas[randomInt(replicas.length)];
    await replica?.kill();
    await replica?.start();
  }
}

/** Layers that all clients push again and again, so that they come and go in several repositories at once. */
const sharedLayers = Array.from({ length: 12 }, () => randomBytes(2_000));

class Client {
  readonly #repository: string;
  /** What the tags must give, as far as this client, who is alone in its repository, was told. */
  readonly #tags = new Map<string, { readonly digest: string; readonly layers: readonly Buffer[] }>();
  pushes = 0;

  constructor(repository: string) {
    this.#repository = repository;
  }

  async work(end: number): Promise<void> {
    while (performance.now() < end) {
      const tag = `t${randomInt(6)}`;
      const deed = randomInt(10);
      // What a client was not told is not known: the tag is tried again.
      if (deed < 7) await this.#push(tag).catch(() => this.#tags.delete(tag));
      else await this.#delete(tag, deed === 7).catch(() => {});
    }
  }

  async #push(tag: string): Promise<void> {
    this.#tags.delete(tag);
    const layers = sharedLayers.filter(() => randomInt(4) === 0);
    const extra = { annotations: { random: `${randomInt(3)}` } };
    const url = anyUrl();
    const missing: Buffer[] = [];
    for (const layer of [Buffer.from("{}"), ...layers]) {
      const path = `/v2/${this.#repository}/blobs/${digestOf(layer)}`;
      if ((await fetch(`${anyUrl()}${path}`, { method: "HEAD" })).status !== 200) missing.push(layer);
    }
    for (const layer of missing) await this.#send(layer);
    const { response, digest } = await pushManifest(url, this.#repository, tag, {
      layers,
      extra,
      areLayersThere: true,
    });
    if (response.status !== 201) return;
    this.pushes += 1;
    this.#tags.set(tag, { digest, layers });
  }

  async #send(layer: Buffer): Promise<void> {
    const from = `random/c${randomInt(CLIENTS)}`;
    const target = `${anyUrl()}/v2/${this.#repository}/blobs/uploads/?mount=${digestOf(layer)}&from=${from}`;
    const mounted = randomInt(2) === 0 && (await fetch(target, { method: "POST" })).status === 201;
    if (!mounted) await pushBlob(anyUrl(), this.#repository, layer);
  }

  async #delete(tag: string, byDigest: boolean): Promise<void> {
    const known = this.#tags.get(tag);
    if (known === undefined) return;
    for (const [other, { digest }] of this.#tags) {
      if (other === tag || (byDigest && digest === known.digest)) this.#tags.delete(other);
    }
    await status(`/v2/${this.#repository}/manifests/${byDigest ? known.digest : tag}`, "DELETE");
  }

  /** What should be there and cannot be pulled. */
  async broken(): Promise<string[]> {
    const wrong: string[] = [];
    for (const [tag, { digest, layers }] of this.#tags) {
      const manifest = await fetch(`${anyUrl()}/v2/${this.#repository}/manifests/${tag}`);
      if (digestOf(Buffer.from(await manifest.arrayBuffer())) !== digest) wrong.push(`${this.#repository}:${tag}`);
      for (const layer of layers) {
        const blob = await fetch(`${anyUrl()}/v2/${this.#repository}/blobs/${digestOf(layer)}`);
        if (!Buffer.from(await blob.arrayBuffer()).equals(layer)) wrong.push(`${this.#repository}:${tag} layer`);
      }
    }
    return wrong;
  }
}
