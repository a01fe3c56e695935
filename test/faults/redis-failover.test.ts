import { readdir, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { HostAgentDefinition } from "#contracts/host/v1/agent";
import { createRpcClient } from "#libs/rpc";
import { eventually, isLong, loopback, type RedisCluster, startRedisCluster, temporaryFolder } from "#libs/testing";
import { type Network, startNetwork, whyNoNetwork } from "../harness/network.ts";
import { type ReplicatedCluster, startReplicatedCluster } from "../harness/replicated-cluster.ts";
import { faultRuns } from "./fault-run.ts";
import { expectNone } from "./invariant-violation.ts";
import { countOf } from "./matrix.ts";
import { importBlank, OperationLoad } from "./operation-load.ts";
import { carryThrough } from "./patient-api.ts";
import { RunsOnce } from "./runs-once.ts";

const names = ["redis-1", "redis-2", "redis-3"];
const withoutNetwork = await whyNoNetwork();
if (withoutNetwork !== undefined) console.warn(`no failover by partition: ${withoutNetwork}`);

describe("F8: Redis fails under load", () => {
  const stack = new AsyncDisposableStack();
  let network: Network | undefined;
  let redis: RedisCluster;
  let cluster: ReplicatedCluster;
  const run = faultRuns(() => cluster);
  beforeAll(async () => {
    const folder = stack.use(temporaryFolder()).path;
    if (withoutNetwork === undefined) network = stack.use(await startNetwork(names, folder));
    redis = stack.use(await startRedisCluster(names.map((name) => network?.machine(name) ?? loopback)));
    cluster = stack.use(await startReplicatedCluster({ redis, hosts: ["n1"] }));
    await importBlank(cluster);
  }, 180_000);
  afterAll(() => stack.disposeAsync(), 120_000);

  /** The services still reach the old primary, and its sentinel; the other servers do not. */
  async function failOverByPartition(): Promise<void> {
    if (network === undefined) throw new Error("there is no network to part");
    const old = await redis.primary();
    const machine = network.machine(names[redis.servers.indexOf(old)] ?? "");
    await network.isolate(machine);
    await run().recovers("a new primary", async () => (await redis.primary()) !== old);
    // Long enough for the old one to be alone with whoever still speaks with it.
    await sleep(2_000);
    await network.heal();
  }

  async function empty(): Promise<void> {
    const client = new Redis((await redis.primary()).url);
    await client.flushall();
    client.disconnect();
  }

  async function crash(): Promise<void> {
    const old = await redis.primary();
    await old.stop("SIGKILL");
    await run().recovers("a new primary", async () => (await redis.primary()) !== old);
    await old.start();
  }

  /** The end of its log is gone when it comes back, as after a power cut; that may be before it is replaced. */
  async function cutShort(): Promise<void> {
    const old = await redis.primary();
    await old.stop("SIGKILL");
    const folder = join(old.folder, "appendonlydir");
    const logs = (await readdir(folder)).filter((name) => name.endsWith(".incr.aof"));
    for (const name of logs) await halve(join(folder, name));
    await old.start();
  }

  const faults = [
    ["failover by partition", failOverByPartition, withoutNetwork === undefined ? countOf("redisPartition") : 0],
    ["FLUSHALL", empty, countOf("redisEmptied")],
    ["kill of the primary", crash, countOf("redisKilled")],
    ["cut of the primary's log", cutShort, countOf("redisCut")],
  ] as const;
  const planned = faults.flatMap(([what, strike, length]) => Array.from({ length }, () => ({ what, strike })));

  test("and no operation is lost, none runs twice", { timeout: 5_400_000 }, async () => {
    await using runs = new RunsOnce(cluster.folder);
    await using load = OperationLoad.start(cluster.api, { probes: 1, vms: 3, image: "blank:1" });
    await eventually(() => load.counts.ended >= 6, { deadlineMs: 60_000 });
    for (const { what, strike } of planned) {
      run().fault(what);
      await strike();
      const before = load.counts.ended;
      await run().recovers("operations go on", () => load.counts.ended > before + 4);
      // A primary that was overtaken follows the new one only after ten seconds.
      if (isLong) await redis.untilWhole();
    }
    await load.stop();
    run().accepted = load.counts.accepted;
    run().note(JSON.stringify({ ...load.counts, looks: runs.looks }));
    expectNone("I2 I3 I4 operations", await load.violations());
    expectNone("I1 ran twice", runs.violations);
    expect(runs.looks).toBeGreaterThan(20);
  });

  test("and an agent still refuses whoever was overtaken", async () => {
    const { api } = cluster;
    const parent = "projects/default";
    const spec = { image: "blank:1", cpus: 1, memoryBytes: 64 * 2 ** 20 };
    await carryThrough(cluster, (requestId) => api.vms.createVm({ parent, vmId: "last", spec, requestId }));
    const { uid } = await api.vms.getVm({ name: `${parent}/vms/last` });
    const agent = createRpcClient(HostAgentDefinition, cluster.hosts.get("n1")?.address ?? "");
    await expect(agent.fence({ uid, epoch: 1, operation: "operations/op-old" })).rejects.toMatchObject({
      reason: "EPOCH_STALE",
    });
    agent.close();
  });
});

/** Somewhere in the middle of a command, most likely. */
const halve = async (path: string) => truncate(path, Math.floor((await stat(path)).size / 2));
