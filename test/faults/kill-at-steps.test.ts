import { afterAll, beforeAll, describe, test } from "vitest";
import { isLong } from "#libs/testing";
import { diesAt } from "./dies-at.ts";
import { type FaultRun, faultRuns, runSeed } from "./fault-run.ts";
import { checkInvariants } from "./invariants.ts";
import { allKillPoints, type KillPoint, shortList } from "./kill-points.ts";
import { scenarios } from "./scenarios.ts";
import { type Stage, setStage } from "./stage.ts";

/** Of the short suite some, of which the seed draws a part. */
const points = isLong ? allKillPoints : shortList(runSeed, 16);

const titleOf = ({ scenario, failpoint, service }: KillPoint): string =>
  `${service === "agent" ? "F3" : "F2"}: ${scenario}:${failpoint}`;

/** kill -9 at the steps of long jobs: after its restart the operation ends as it should, once, and nothing is left. */
describe(`kill -9 at ${points.length} of ${allKillPoints.length} points`, () => {
  let stage: Stage;
  const run = faultRuns(() => stage.cluster);
  beforeAll(async () => {
    stage = await setStage(Object.fromEntries(allKillPoints.map(({ failpoint }) => [failpoint, "kill"])));
  }, 240_000);
  afterAll(async () => {
    await stage[Symbol.asyncDispose]();
  }, 120_000);

  test.for(points.map((point) => [titleOf(point), point] as const))("%s", { timeout: 120_000 }, async ([, point]) =>
    killAt(stage, point, run()),
  );
});

async function killAt(stage: Stage, { scenario, failpoint, service }: KillPoint, run: FaultRun): Promise<void> {
  const { prepare, act, verify, cleanUp } = scenarios[scenario];
  const { cluster, failpoints } = stage;
  await prepare?.(stage);
  const death = { run, failpoints, at: failpoint, victim: cluster.services[service], who: service };
  const outcome = await diesAt(death, () => act(stage));
  await verify(stage, outcome);
  await checkInvariants(cluster);
  await cleanUp?.(stage, outcome);
}
