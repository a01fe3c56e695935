import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isLasting, isStillpointError } from "#libs/errors";
import { eventually, startNats, startNatsCluster, startRedis, type TestServer } from "#libs/testing";
import { type ReplicatedCluster, startReplicatedCluster } from "../harness/replicated-cluster.ts";
import { isServing } from "../harness/serving.ts";
import { faultRuns, natsBoundMs } from "./fault-run.ts";
import { expectNone } from "./invariant-violation.ts";
import { countOf } from "./matrix.ts";
import { importBlank, OperationLoad } from "./operation-load.ts";
import { RecordLoad } from "./record-load.ts";
import { mountSmallDisk, type SmallDisk } from "./small-disk.ts";

const MiB = 2 ** 20;
/** A refusal comes at once; this is for a machine that is busy. */
const REFUSED_WITHIN_MS = 10_000;
const rounds = Math.ceil(countOf("fullServer") / 3);
const timeout = 3_600_000;

describe("F12: the disk of a server is full", () => {
  const stack = new AsyncDisposableStack();
  let disks: Readonly<Record<"nats" | "redis", SmallDisk>>;
  let nats: TestServer;
  let redis: TestServer;
  let cluster: ReplicatedCluster;
  const run = faultRuns(() => cluster);
  beforeAll(async () => {
    disks = { nats: stack.use(await mountSmallDisk(64 * MiB)), redis: stack.use(await mountSmallDisk(24 * MiB)) };
    // More than there is: the disk is full before the server's own limit is reached.
    nats = stack.use(await startNats({ syncAlways: true, data: disks.nats.path, mayKeep: "16GB" }));
    redis = stack.use(await startRedis({ data: disks.redis.path }));
    const servers = { nats: { nodes: [nats], url: nats.url }, redis: { servers: [redis], url: redis.url } };
    cluster = stack.use(await startReplicatedCluster({ ...servers, hosts: ["n1"], replicas: 1 }));
    await importBlank(cluster);
  }, 240_000);
  afterAll(() => stack.disposeAsync(), 120_000);

  const probe = () => cluster.api.operations.probe({ requestId: crypto.randomUUID() });
  const isServingOperations = () => isServing(cluster.replicas.operation[0]?.address ?? "");

  /** What is asked for is refused at once with what to do. */
  async function expectRefusal(): Promise<void> {
    const { error, tookMs } = await refusal(probe);
    run().note(`refused after ${tookMs} ms: ${error.message}`);
    expect(error).toMatchObject({ reason: "UNAVAILABLE", help: expect.stringContaining("docs/operations.md") });
    expect(tookMs).toBeLessThan(REFUSED_WITHIN_MS);
    expect(await isServingOperations()).toBe(false);
  }

  test("NATS: what is asked for is refused at once, and with room all goes on", { timeout }, async () => {
    await using records = await RecordLoad.start(nats.url, 1);
    await using load = OperationLoad.start(cluster.api, { probes: 1, vms: 1, image: "blank:1" });
    const goesOn = async () => {
      const before = { records: records.acknowledged, ended: load.counts.ended };
      await run().recovers("writes go on", () => records.acknowledged > before.records + 3, natsBoundMs);
      await run().recovers("operations go on", () => load.counts.ended > before.ended + 3, natsBoundMs);
      await run().recovers("it is told to be well", isServingOperations);
    };
    for (let round = 0; round < rounds; round++) {
      await goesOn();
      await disks.nats.fill(0);
      run().fault("full disk", "of NATS");
      await expectRefusal();
      if (round % 2 === 0) {
        run().fault("kill", "of NATS, started again on its full disk");
        await nats.stop("SIGKILL");
        await nats.start();
        await expectRefusal();
      }
      await disks.nats.clear();
      await goesOn();
    }
    await Promise.all([records.stop(), load.stop()]);
    run().accepted = load.counts.accepted;
    expectNone("I8 I13 records", await records.violations());
    expectNone("I2 I3 I4 operations", await load.violations());
  });

  test("Redis: operations go on without it, and with it when there is room", { timeout }, async () => {
    await using stack = new AsyncDisposableStack();
    const client = stack.adopt(new Redis(redis.url), (it) => it.disconnect());
    const write = () => client.set("full-server", "x".repeat(4_096)).catch(({ message }: Error) => message);
    await using load = OperationLoad.start(cluster.api, { probes: 1, vms: 1, image: "blank:1" });
    for (let round = 0; round < rounds; round++) {
      await disks.redis.fill(0);
      run().fault("full disk", "of Redis");
      await eventually(async () => (await write()).startsWith("MISCONF"), { deadlineMs: 60_000 });
      const before = load.counts.ended;
      await run().recovers("operations go on without it", () => load.counts.ended > before + 4);
      await disks.redis.clear();
      await run().recovers("Redis takes writes", async () => (await write()) === "OK");
      const later = load.counts.ended;
      await run().recovers("operations go on", () => load.counts.ended > later + 4);
    }
    await load.stop();
    run().accepted = load.counts.accepted;
    expectNone("I2 I3 I4 operations", await load.violations());
  });
});

describe("F12: the disk of one of three nodes of NATS is full", () => {
  const run = faultRuns();

  test("the others go on, and it follows when it was restarted with room", { timeout }, async () => {
    await using disk = await mountSmallDisk(64 * MiB);
    await using nats = await startNatsCluster(undefined, [disk.path]);
    const [node] = nats.nodes;
    await using records = await RecordLoad.start(nats.url, 2);
    const goesOn = async () => {
      const before = records.acknowledged;
      await run().recovers("writes go on", () => records.acknowledged > before + 10, natsBoundMs);
    };
    const areEqual = async () => new Set((await nats.statesOf("REC")).map((state) => JSON.stringify(state))).size === 1;
    for (let round = 0; round < rounds; round++) {
      await goesOn();
      await disk.fill(0);
      run().fault("full disk", "of one node");
      await run().recovers("it says that it is ill", async () => (await nats.health()).join() === "false,true,true");
      await goesOn();
      // It has left its streams, and comes back to them as it starts.
      await disk.clear();
      await node?.stop();
      await node?.start();
      await run().recovers("it is well", async () => (await nats.health()).every(Boolean), natsBoundMs);
    }
    await goesOn();
    await records.stop();
    await run().recovers("all nodes have the same", areEqual, natsBoundMs);
    expectNone("I8 I13 records", await records.violations());
  });
});

/** Asks until it is refused for good: what lies in the server's own blocks has room. */
async function refusal(ask: () => Promise<unknown>) {
  return await eventually(
    async () => {
      const begunMs = performance.now();
      const error = await ask().then(
        () => undefined,
        (why: unknown) => why,
      );
      return isStillpointError(error) && isLasting(error) && { error, tookMs: Math.round(performance.now() - begunMs) };
    },
    { deadlineMs: 60_000 },
  );
}
