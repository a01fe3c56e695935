import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually, type NatsCluster, startNatsCluster, type TestServer } from "#libs/testing";
import { type ReplicatedCluster, startReplicatedCluster } from "../harness/replicated-cluster.ts";
import { importBlank, OperationLoad } from "./operation-load.ts";
import { RecordLoad } from "./record-load.ts";

const isLong = process.env.STILLPOINT_FAULTS === "all";

type Victims = (nats: NatsCluster) => Promise<readonly TestServer[]>;

const leader: Victims = async (nats) =>
  [(await nats.leaderOf("REC")) ?? nats.nodes[0]].filter((node) => node !== undefined);
const one: Victims = async ({ nodes }) => nodes.slice(0, 1);
const two: Victims = async ({ nodes }) => nodes.slice(1);
const all: Victims = async ({ nodes }) => nodes;

/** Kills of each kind: in `make test`, and in the long suite. */
const kills = [
  ["the leader", leader, 1, 30],
  ["one node", one, 0, 70],
  ["two nodes", two, 0, 50],
  ["all nodes", all, 1, 30],
] as const;

const planned = kills.flatMap(([what, victimsOf, few, many]) =>
  Array.from({ length: isLong ? many : few }, () => ({ what, victimsOf })),
);

describe("F7: nodes of NATS die under load", () => {
  const stack = new AsyncDisposableStack();
  let nats: NatsCluster;
  let cluster: ReplicatedCluster;
  beforeAll(async () => {
    nats = stack.use(await startNatsCluster());
    cluster = stack.use(await startReplicatedCluster({ nats, hosts: ["n1"] }));
    await importBlank(cluster);
  }, 180_000);
  afterAll(() => stack.disposeAsync(), 120_000);

  test("and nothing that was accepted is lost", { timeout: isLong ? 5_400_000 : 300_000 }, async () => {
    await using records = await RecordLoad.start(nats.url);
    await using operations = OperationLoad.start(cluster.api, { image: "blank:1" });
    await eventually(() => operations.counts.ended >= 8, { deadlineMs: 60_000 });
    for (const { what, victimsOf } of planned) {
      const { writesMs, operationsMs } = await killAndRecover(await victimsOf(nats), { records, operations });
      console.log(`${what}: writes go on after ${writesMs} ms, operations after ${operationsMs} ms`);
      await nats.untilWhole();
    }
    await Promise.all([records.stop(), operations.stop()]);
    console.log({ ...operations.counts, records: records.acknowledged, conflicts: records.conflicts });
    expect(await records.violations()).toEqual([]);
    expect(await operations.violations()).toEqual([]);
    for (const stream of ["REC", "OPS", "EVT"]) {
      await eventually(async () => new Set((await nats.statesOf(stream)).map((it) => JSON.stringify(it))).size === 1);
    }
  });
});

interface Loads {
  readonly records: RecordLoad;
  readonly operations: OperationLoad;
}

/** Kills them, starts them again, and waits until several writes and operations of others have got through. */
async function killAndRecover(victims: readonly TestServer[], { records, operations }: Loads) {
  const killedMs = performance.now();
  const sinceMs = () => Math.round(performance.now() - killedMs);
  await Promise.all(victims.map((victim) => victim.stop("SIGKILL")));
  await sleep(500);
  await Promise.all(victims.map((victim) => victim.start()));
  const before = { records: records.acknowledged, operations: operations.counts.ended };
  await eventually(() => records.acknowledged > before.records + 3, { deadlineMs: 45_000 });
  const writesMs = sinceMs();
  await eventually(() => operations.counts.ended > before.operations + 4, { deadlineMs: 45_000 });
  return { writesMs, operationsMs: sinceMs() };
}
