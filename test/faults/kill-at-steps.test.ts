import { afterAll, beforeAll, describe, test } from "vitest";
import { checkInvariants } from "./invariants.ts";
import { allKillPoints, type KillPoint, shortList } from "./kill-points.ts";
import { scenarios } from "./scenarios.ts";
import { type Stage, setStage } from "./stage.ts";

const seed = Number(process.env.STILLPOINT_FAULT_SEED ?? 1);
const points = process.env.STILLPOINT_FAULTS === "all" ? allKillPoints : shortList(seed, 6);

/** kill -9 at the steps of long jobs: after its restart the operation ends as it should, once, and nothing is left. */
describe(`kill -9 at ${points.length} of ${allKillPoints.length} points (sample drawn by STILLPOINT_FAULT_SEED=${seed})`, () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await setStage([...new Set(allKillPoints.map(({ failpoint }) => failpoint))]);
  }, 240_000);
  afterAll(async () => {
    await stage[Symbol.asyncDispose]();
  }, 120_000);

  test.for(points.map((point) => [`${point.scenario}: ${point.failpoint}`, point] as const))(
    "%s",
    { timeout: 120_000 },
    async ([, point]) => killAt(stage, point),
  );
});

async function killAt(stage: Stage, { scenario, failpoint, service }: KillPoint): Promise<void> {
  const { prepare, act, verify, cleanUp } = scenarios[scenario];
  await stage.reset();
  await prepare?.(stage);
  const process = stage.cluster.services[service];
  const before = process.deaths;
  await stage.failpoints.arm(failpoint);
  const outcome = await act(stage);
  await process.untilDead(before, 1_000);
  await verify(stage, outcome);
  await checkInvariants(stage.cluster);
  await cleanUp?.(stage, outcome);
}
