import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Cluster } from "../harness/cluster.ts";
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
const middles: readonly { readonly job: ScenarioName; readonly failpoint: string; readonly isLong?: true }[] = [
  { job: "create", failpoint: "vm.create.make.after" },
  { job: "create", failpoint: "agent.start-vm.before", isLong: true },
  { job: "production", failpoint: "agent.take-production.frozen" },
  { job: "production", failpoint: "checkpoint.create.publish.before", isLong: true },
  { job: "standard", failpoint: "checkpoint.create.standard.after" },
];
const chosen = middles.filter(({ isLong }) => process.env.STILLPOINT_FAULTS === "all" || isLong !== true);

/** The records are the truth: what Redis and NATS lose costs progress bars and some waiting. */
describe("servers that fail in the middle of a job", () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await setStage(Object.fromEntries(middles.map(({ failpoint }) => [failpoint, inTheMiddle])));
  }, 240_000);
  afterAll(async () => {
    await stage[Symbol.asyncDispose]();
  }, 120_000);

  const cases = Object.keys(faults).flatMap((fault) => chosen.map((middle) => ({ fault, ...middle })));
  test.for(cases)("$fault at $failpoint of $job", { timeout: 120_000 }, async ({ fault, job, failpoint }) => {
    const { prepare, act, verify, cleanUp } = scenarios[job];
    await prepare?.(stage);
    await stage.failpoints.arm(failpoint);
    const acting = act(stage);
    const isThere = stage.failpoints.untilFired(failpoint).then(() => true);
    expect(await Promise.race([isThere, acting.then(() => false)])).toBe(true);
    await faults[fault]?.(stage.cluster);
    const outcome = await acting;
    await verify(stage, outcome);
    await checkInvariants(stage.cluster);
    await cleanUp?.(stage, outcome);
  });
});
