import { randomBytes } from "node:crypto";
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CollectionDefinition } from "#contracts/registry/v1/collection";
import { ImagesDefinition } from "#contracts/registry/v1/registry";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { startProjector } from "#libs/events";
import { silentLogger } from "#libs/logger";
import { digestOf } from "#libs/oci";
import { openNats, openStreams, type Streams } from "#libs/records";
import { createRpcClient, type RpcClient } from "#libs/rpc";
import { eventually } from "#libs/testing";
import { pushManifest } from "../http/oci-fixture.ts";
import { type RegistryCluster, startRegistryCluster } from "../testing/registry-cluster.ts";

let ending: AsyncDisposableStack;
let cluster: RegistryCluster;
let nats: NatsConnection;
let streams: Streams;

beforeAll(async () => {
  ending = new AsyncDisposableStack();
  const settings = { REGISTRY_AUTH: "none", REGISTRY_GRACE_SECONDS: "1", REGISTRY_UNTAGGED_SECONDS: "1" };
  cluster = ending.use(await startRegistryCluster({ replicas: 2, settings }));
  nats = ending.adopt(await openNats({ url: cluster.nats.url }), (it) => it.close());
  streams = await openStreams(nats);
  const projector = startProjector({ records: streams.rec, events: streams.evt, clock, random, logger: silentLogger });
  ending.defer(() => projector.close());
}, 30_000);

afterAll(() => ending?.disposeAsync());

interface Seen {
  readonly subject: string;
  readonly data: Readonly<Record<string, unknown>>;
}

async function eventsOf(filter: string, stream = "EVT"): Promise<Seen[]> {
  const manager = await jetstreamManager(nats);
  const { state } = await manager.streams.info(stream);
  const seen: Seen[] = [];
  for (let seq = state.first_seq; seq <= state.last_seq; seq += 1) {
    const message = await manager.streams.getMessage(stream, { seq });
    if (message?.subject.startsWith(filter)) seen.push({ subject: message.subject, data: message.json<Seen>().data });
  }
  return seen;
}

const clients = () =>
  cluster.rpcAddresses.map((address) => ending.adopt(createRpcClient(ImagesDefinition, address), (it) => it.close()));

describe("events", () => {
  test("tell of pushes and deletions once, with actor and digest, whichever replica they came to", async () => {
    const { digest } = await pushManifest(cluster.urls[0] ?? "", "team/my.app", "v1");
    await pushManifest(cluster.urls[1] ?? "", "plain", "v1");
    await fetch(`${cluster.urls[1]}/v2/team/my.app/manifests/v1`, { method: "DELETE" });
    await eventually(async () => (await eventsOf("evt.image.v1.deleted.")).length === 1);
    expect(await eventsOf("evt.image.v1.pushed.team.")).toEqual([
      {
        subject: "evt.image.v1.pushed.team.myX2Eapp",
        data: expect.objectContaining({ repository: "team/my.app", tags: ["v1"], digests: [digest], actor: "local" }),
      },
    ]);
    await eventually(async () => (await eventsOf("evt.image.v1.pushed.-.plain")).length === 1);
    expect(await eventsOf("evt.image.v1.deleted.")).toEqual([
      expect.objectContaining({ data: expect.objectContaining({ repository: "team/my.app", tags: ["v1"] }) }),
    ]);
  });

  test("are not lost, and no push waits, while NATS is down", async () => {
    await cluster.nats.stop("SIGKILL");
    for (const tag of ["a", "b", "c"]) {
      const { response } = await pushManifest(cluster.url, "team/offline", tag);
      expect(response.status).toBe(201);
    }
    await cluster.nats.start();
    const pushed = () => eventsOf("evt.image.v1.pushed.team.offline");
    await eventually(async () => (await pushed()).length >= 3, { deadlineMs: 20_000 });
    expect((await pushed()).flatMap(({ data }) => data.tags)).toEqual(["a", "b", "c"]);
  }, 40_000);

  test("of pulls are counted and go to a stream of their own; lists show the last one", async () => {
    const { digest } = await pushManifest(cluster.url, "team/pulled", "v1");
    for (let pull = 0; pull < 6; pull += 1) await fetch(`${cluster.urls[0]}/v2/team/pulled/manifests/v1`);
    const pulls = () => eventsOf("pull.image.v1.pulled.team.pulled", "PULL");
    await eventually(async () => (await pulls()).length > 0, { deadlineMs: 10_000 });
    const counts = (await pulls()).map(({ data }) => data as { count: number; digest: string; tag: string });
    expect(counts.reduce((sum, { count }) => sum + count, 0)).toBe(6);
    expect(counts[0]).toMatchObject({ digest, tag: "v1", actor: "local" });
    for (const images of clients()) {
      const image = await images.getImage({ reference: "team/pulled:v1" });
      expect(Date.now() - (image.pullTime?.getTime() ?? 0)).toBeLessThan(60_000);
    }
  }, 20_000);
});

async function inPages(images: RpcClient<ImagesDefinition>): Promise<string[]> {
  const references: string[] = [];
  for (let pageToken = ""; ; ) {
    const page = await images.listImages({ pageSize: 2, pageToken });
    references.push(...page.images.map(({ reference }) => reference));
    if (page.nextPageToken === "") return references;
    pageToken = page.nextPageToken;
  }
}

describe("the index", () => {
  test("follows on all replicas, and lists pages with sizes and what is shared", async () => {
    const [base, own] = [randomBytes(10_000), randomBytes(500)];
    for (const tag of ["v1", "v2"]) await pushManifest(cluster.url, "index/base", tag, { layers: [base] });
    await pushManifest(cluster.url, "index/derived", "v1", { layers: [base, own] });
    for (const images of clients()) {
      const listed = await eventually(async () => {
        const { images: all } = await images.listImages({});
        const ours = all.filter(({ repository }) => repository.startsWith("index/"));
        return ours.length === 3 && ours;
      });
      const shown = listed.map(({ reference, sizeBytes, sharedBytes }) => [reference, sizeBytes, sharedBytes]);
      // The config of two bytes is everybody's.
      expect(shown).toEqual([
        ["index/base:v1", 10_002, 10_002],
        ["index/base:v2", 10_002, 10_002],
        ["index/derived:v1", 10_502, 10_002],
      ]);
      expect(await inPages(images)).toEqual((await images.listImages({})).images.map(({ reference }) => reference));
    }
  });

  test("knows another tag of an image at once", async () => {
    const [images] = clients();
    const { digest } = await pushManifest(cluster.url, "index/tagged", "v1");
    expect(await images?.tagImage({ reference: "index/tagged:v1", tag: "stable" })).toMatchObject({ digest });
    expect((await fetch(`${cluster.url}/v2/index/tagged/manifests/stable`)).status).toBe(200);
    await expect(images?.tagImage({ reference: "index/tagged:v1", tag: "no tag" })).rejects.toMatchObject({
      reason: "NAME_INVALID",
    });
  });
});

test("collection tells why something is kept, what would go and when, and what it did", async () => {
  const [address = ""] = cluster.rpcAddresses;
  const collection = ending.adopt(createRpcClient(CollectionDefinition, address), (it) => it.close());
  const [kept, lost] = [randomBytes(1_000), randomBytes(2_000)];
  const image = await pushManifest(cluster.url, "team/collected", "v1", { layers: [kept] });
  const old = await pushManifest(cluster.url, "team/collected", "", { layers: [lost] });

  const { holdings } = await collection.explainKept({ reference: digestOf(kept) });
  expect(holdings).toEqual([
    expect.objectContaining({
      ...{ repository: "team/collected", step: "COLLECTION_STEP_KEEP", isForNow: false, sizeBytes: 1_000 },
      reasons: [`blob of ${image.digest}`, "tag v1"],
    }),
  ]);
  const forNow = await collection.explainKept({ reference: digestOf(lost) });
  expect(forNow.holdings).toMatchObject([{ reasons: [`blob of ${old.digest}`], isForNow: true }]);
  await expect(collection.explainKept({ reference: "team/nothing:v1" })).rejects.toMatchObject({
    reason: "IMAGE_NOT_FOUND",
  });

  const plan = async () => (await collection.planCollection({ repository: "team/collected" })).items;
  expect(await plan()).toMatchObject([{ digest: old.digest, isManifest: true, step: "COLLECTION_STEP_MARK" }]);
  const collected = await eventually(
    async () => {
      let reclaimedBytes = 0;
      for await (const progress of collection.collect({ repository: "team/collected" })) {
        reclaimedBytes += progress.reclaimedBytes;
      }
      return reclaimedBytes > 2_000 ? reclaimedBytes : (await plan()).length === 0 && 1;
    },
    { deadlineMs: 15_000, everyMs: 300 },
  );
  expect(collected).toBeGreaterThan(0);
  await eventually(async () => (await eventsOf("evt.image.v1.collected.team.collected")).length >= 2);
  const told = (await eventsOf("evt.image.v1.collected.team.collected")).flatMap(({ data }) => data.digests);
  expect(told).toEqual(expect.arrayContaining([old.digest, digestOf(lost)]));
  expect(told).not.toContain(digestOf(kept));
  const { repositories } = await collection.getUsage({});
  expect(repositories.find(({ repository }) => repository === "team/collected")).toMatchObject({
    ...{ tags: 1, manifests: 1, sizeBytes: 1_002 },
  });
}, 30_000);
