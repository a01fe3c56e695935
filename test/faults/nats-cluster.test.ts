import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, test } from "vitest";
import { eventually, type NatsCluster, startNatsCluster, type TestServer } from "#libs/testing";
import { type ReplicatedCluster, startReplicatedCluster } from "../harness/replicated-cluster.ts";
import { type FaultRun, faultRuns, natsBoundMs } from "./fault-run.ts";
import { expectNone } from "./invariant-violation.ts";
import { countOf } from "./matrix.ts";
import { importBlank, OperationLoad } from "./operation-load.ts";
import { RecordLoad } from "./record-load.ts";

type Victims = (nats: NatsCluster) => Promise<readonly TestServer[]>;

const leader: Victims = async (nats) =>
  [(await nats.leaderOf("REC")) ?? nats.nodes[0]].filter((node) => node !== undefined);
const one: Victims = async ({ nodes }) => nodes.slice(0, 1);
const two: Victims = async ({ nodes }) => nodes.slice(1);
const all: Victims = async ({ nodes }) => nodes;

const kills = [
  ["the leader", leader, countOf("natsLeader")],
  ["one node", one, countOf("natsOne")],
  ["two nodes", two, countOf("natsTwo")],
  ["all nodes", all, countOf("natsAll")],
] as const;

const planned = kills.flatMap(([what, victimsOf, length]) => Array.from({ length }, () => ({ what, victimsOf })));

describe("F7: nodes of NATS die under load", () => {
  const stack = new AsyncDisposableStack();
  let nats: NatsCluster;
  let cluster: ReplicatedCluster;
  const run = faultRuns(() => ({ folder: cluster.folder, nats, servers: nats.nodes }));
  beforeAll(async () => {
    nats = stack.use(await startNatsCluster());
    cluster = stack.use(await startReplicatedCluster({ nats, hosts: ["n1"] }));
    await importBlank(cluster);
  }, 180_000);
  afterAll(() => stack.disposeAsync(), 120_000);

  test("and nothing that was accepted is lost", { timeout: 5_400_000 }, async () => {
    await using records = await RecordLoad.start(nats.url);
    await using operations = OperationLoad.start(cluster.api, { image: "blank:1" });
    await eventually(() => operations.counts.ended >= 8, { deadlineMs: 60_000 });
    for (const { what, victimsOf } of planned) {
      run().fault(`kill of ${what}`);
      await killAndRecover(await victimsOf(nats), { records, operations }, run());
      await nats.untilWhole();
    }
    await Promise.all([records.stop(), operations.stop()]);
    run().accepted = operations.counts.accepted;
    const { acknowledged, conflicts } = records;
    run().note(JSON.stringify({ ...operations.counts, acknowledged, conflicts }));
    expectNone("I8 I13 records", await records.violations());
    expectNone("I2 I3 I4 operations", await operations.violations());
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
async function killAndRecover(victims: readonly TestServer[], { records, operations }: Loads, run: FaultRun) {
  await Promise.all(victims.map((victim) => victim.stop("SIGKILL")));
  await sleep(500);
  await Promise.all(victims.map((victim) => victim.start()));
  const before = { records: records.acknowledged, operations: operations.counts.ended };
  await Promise.all([
    run.recovers("writes go on", () => records.acknowledged > before.records + 3, natsBoundMs),
    run.recovers("operations go on", () => operations.counts.ended > before.operations + 4, natsBoundMs),
  ]);
}
