import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eventually, isLong } from "#libs/testing";
import type { Cluster } from "../harness/cluster.ts";
import { faultRuns } from "./fault-run.ts";
import { checkInvariants } from "./invariants.ts";
import type { ScenarioName } from "./kill-points.ts";
import { scenarios } from "./scenarios.ts";
import { type Stage, setStage } from "./stage.ts";

/** Longer than the lease on the target: a worker that lost it comes back to what another one has taken over. */
const inTheMiddle = "delay:1500";

const faults: Readonly<Record<string, (cluster: Cluster) => Promise<void>>> = {
  "Redis is emptied": async ({ redis }) => {
    const client = new Redis(redis.url);
    await client.flushall();
    client.disconnect();
  },
  "Redis crashes and is started again": async ({ redis }) => {
    await redis.stop("SIGKILL");
    await redis.start();
  },
  // JOBS is in memory: the hints are gone, and so are the consumers.
  "NATS crashes and is started again": async ({ nats }) => {
    await nats.stop("SIGKILL");
    await nats.start();
  },
  // It writes down what it knows of its streams before it ends, and believes that when it starts.
  "NATS is stopped and started again": async ({ nats }) => {
    await nats.stop();
    await nats.start();
  },
};

/** In the service that runs the job, and in the agent that it waits for. */
const middles: readonly { readonly job: ScenarioName; readonly failpoint: string }[] = [
  { job: "create", failpoint: "vm.create.make.after" },
  { job: "production", failpoint: "agent.take-production.frozen" },
  { job: "standard", failpoint: "checkpoint.create.standard.after" },
  { job: "create", failpoint: "agent.start-vm.before" },
  { job: "production", failpoint: "checkpoint.create.publish.before" },
];

/** Each fault at each of them; in the short suite at two, other ones for each fault. */
const cases = Object.keys(faults).flatMap((fault, index) => {
  const row = fault.startsWith("NATS") ? "F6" : "F8";
  const chosen = isLong ? middles : [0, 1].flatMap((next) => middles[(index + next) % 3] ?? []);
  return chosen.map((middle) => ({ row, fault, ...middle }));
});

/** The records are the truth: what Redis and NATS lose costs progress bars and some waiting. */
describe("servers that fail in the middle of a job", () => {
  let stage: Stage;
  const run = faultRuns(() => stage.cluster);
  beforeAll(async () => {
    const actions = Object.fromEntries(middles.map(({ failpoint }) => [failpoint, inTheMiddle] as const));
    stage = await setStage(actions, { RECONCILE_SECONDS: "1" });
  }, 240_000);
  afterAll(async () => {
    await stage[Symbol.asyncDispose]();
  }, 120_000);

  test.for(cases)("$row: $fault at $failpoint of $job", { timeout: 120_000 }, async ({ fault, job, failpoint }) => {
    const { prepare, act, verify, cleanUp } = scenarios[job];
    await prepare?.(stage);
    await stage.failpoints.arm(failpoint);
    const acting = act(stage);
    const isThere = stage.failpoints.untilFired(failpoint).then(() => true);
    expect(await Promise.race([isThere, acting.then(() => false)])).toBe(true);
    await faults[fault]?.(stage.cluster);
    run().fault(fault);
    let isOver = false;
    const outcome = acting.finally(() => (isOver = true));
    await run().recovers(`${job} ends`, () => isOver);
    await verify(stage, await outcome);
    await checkInvariants(stage.cluster);
    await cleanUp?.(stage, await outcome);
  });

  test("capacity that neither a workload nor an operation needs is given back", async () => {
    const { hosts, scheduler } = stage.cluster.api;
    const lost = { workload: "projects/default/vms/lost", uid: "vm-lost", operation: "operations/lost" };
    const place = () => scheduler.place({ ...lost, requirements: { cpus: 1, memoryBytes: 2 ** 20 } });
    // The fault before may have cut the host's heartbeats: until the next one no host fits.
    const { host } = await eventually(place, { deadlineMs: 30_000 });
    const isTold = async () => (await readFile(join(stage.cluster.folder, "scheduler.log"), "utf8")).includes(lost.uid);
    await eventually(isTold, { deadlineMs: 15_000 });
    expect((await hosts.getHost({ name: host })).reservations.map(({ uid }) => uid)).not.toContain(lost.uid);
    await checkInvariants(stage.cluster);
  });
});
