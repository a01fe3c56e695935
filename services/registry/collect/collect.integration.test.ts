import { randomBytes, randomInt } from "node:crypto";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { digestOf, mediaTypes } from "#libs/oci";
import { eventually, freePort, startRedis } from "#libs/testing";
import { pushBlob, pushManifest } from "../http/oci-fixture.ts";
import { digestOfContent, keys } from "../store/keys.ts";
import { RandomClient } from "../testing/random-client.ts";
import { type RegistryReplica, startReplica } from "../testing/registry-replica.ts";
import { type StorePlace, startBucket, startFolder } from "../testing/store-places.ts";

/** How much clients push at random, over a folder; a quarter of it over S3. Thousands for a long run. */
const PUSHES = Number(process.env.REGISTRY_COLLECT_PUSHES ?? 80);
const PUSHES_BETWEEN_KILLS = 30;

/** Two replicas over one store that collect all the time. */
async function startReplicas(ending: AsyncDisposableStack, place: StorePlace, verifySeconds: string) {
  const redis = ending.use(await startRedis());
  const settings = {
    ...place.settings,
    REDIS_URL: redis.url,
    REGISTRY_COLLECT_SECONDS: "0.2",
    REGISTRY_GRACE_SECONDS: "0.5",
    REGISTRY_UNTAGGED_SECONDS: "0.5",
    REGISTRY_VERIFY_SECONDS: verifySeconds,
  };
  const metricsPorts = [await freePort(), await freePort()];
  const replicas = await Promise.all(
    metricsPorts.map((port) => startReplica({ ...settings, METRICS_ADDRESS: `127.0.0.1:${port}` })),
  );
  for (const replica of replicas) ending.use(replica);
  const client = ending.adopt(new Redis(redis.url), (it) => it.disconnect());
  /** Has both collect at the same time, and nobody wait for a lease of one that was killed. */
  const loseLease = () => void client.del("{registry:collection}:lease");
  const anyUrl = () => replicas[randomInt(replicas.length)]?.url ?? "";
  return { replicas, metricsPorts, anyUrl, loseLease };
}

const metricsAt = async (port: number) => await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();

/**
 * What was garbage before has been collected when it resolves: a blob of a push that was given up only now has. After a
 * collector that was killed in the middle, that takes until its deletions cannot come any more.
 */
async function collected(url: string, { objects }: StorePlace): Promise<Buffer> {
  const blob = randomBytes(500);
  expect((await pushBlob(url, "given/up", blob)).status).toBe(201);
  const key = keys.content(digestOf(blob));
  await eventually(async () => (await objects.head(key)) === undefined, { deadlineMs: 90_000 });
  return blob;
}

interface Stage {
  readonly place: StorePlace;
  readonly metricsPorts: readonly number[];
  readonly anyUrl: () => string;
}

async function keepsWhatIsNeeded({ place, metricsPorts, anyUrl }: Stage): Promise<void> {
  const url = anyUrl();
  const status = async (path: string, method = "GET") => (await fetch(`${anyUrl()}${path}`, { method })).status;
  const contents = async () => new Set((await place.objects.list(keys.contents)).map(digestOfContent));
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
  await pushManifest(url, "kept/other", "v1", {
    layers: layers.slice(0, 1),
    extra: { annotations: { n: "other" } },
  });
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
  const link = keys.link("kept/image", "_blobs", shared);
  await eventually(async () => (await place.objects.head(link)) === undefined, { deadlineMs: 15_000 });
  expect(await status(`/v2/kept/image/blobs/${shared}`, "HEAD")).toBe(404);
  expect(await status(`/v2/kept/other/blobs/${shared}`)).toBe(200);

  const metrics = await Promise.all(metricsPorts.map(async (port) => await metricsAt(port)));
  const reclaimed = metrics.map((text) => Number(/^stillpoint_registry_reclaimed_bytes_total (\d+)/m.exec(text)?.[1]));
  expect(reclaimed.reduce((sum, bytes) => sum + bytes, 0)).toBeGreaterThan(4_000);
  const requests = /^stillpoint_registry_request_duration_seconds_count\{request="putManifest",status="201"\} \d/m;
  expect(metrics.join()).toMatch(requests);
}

describe.each([
  ["a folder", { open: startFolder, pushes: PUSHES, clients: 4, verifySeconds: "3" }],
  // Where everything takes longer, the queue alone tells what to look at.
  ["S3", { open: startBucket, pushes: PUSHES / 4, clients: 2, verifySeconds: "3600" }],
] as const)("collection over %s", (_name, { open, pushes, clients: count, verifySeconds }) => {
  const ending = new AsyncDisposableStack();
  let place: StorePlace;
  let replicas: RegistryReplica[];
  let metricsPorts: number[];
  let anyUrl: () => string;
  beforeAll(async () => {
    place = await open(ending);
    const started = await startReplicas(ending, place, verifySeconds);
    ({ replicas, metricsPorts, anyUrl } = started);
    const losing = setInterval(started.loseLease, 1_000);
    ending.defer(() => clearInterval(losing));
  }, 60_000);
  afterAll(() => ending.disposeAsync());

  const what = "keeps what a tag needs: children of an index, referrers, lineage; and deletes what is let go";
  // Once is enough for what does not depend on the store.
  if (open === startFolder) test(what, () => keepsWhatIsNeeded({ place, metricsPorts, anyUrl }), 60_000);

  test(
    "loses nothing while clients push, mount, delete and re-tag at random, and replicas are killed",
    async () => {
      const clients = Array.from({ length: count }, (_, number) => new RandomClient(number, anyUrl));
      const pushed = () => clients.reduce((sum, client) => sum + client.pushes, 0);
      const work = Promise.all(clients.map((client) => client.work(() => pushed() >= pushes)));
      for (let next = PUSHES_BETWEEN_KILLS / 3; next < pushes; next += PUSHES_BETWEEN_KILLS) {
        await eventually(() => pushed() >= next, { deadlineMs: 60_000 });
        const replica = replicas[randomInt(replicas.length)];
        await replica?.kill();
        await replica?.start();
      }
      await work;
      for (const client of clients) expect(await client.broken()).toEqual([]);
      const blob = await collected(anyUrl(), place);
      for (const client of clients) expect(await client.broken()).toEqual([]);
      const gone = await fetch(`${anyUrl()}/v2/given/up/blobs/${digestOf(blob)}`, { method: "HEAD" });
      expect(gone.status).toBe(404);
    },
    300_000 + 200 * pushes,
  );
});
