import { afterAll, beforeAll, describe, test } from "vitest";
import { checkInvariants } from "./invariants.ts";
import { allKillPoints, type KillPoint, shortList } from "./kill-points.ts";
import { scenarios } from "./scenarios.ts";
import { type Stage, setStage } from "./stage.ts";

const seed = Number(process.env.STILLPOINT_FAULT_SEED ?? 1);
const which = process.env.STILLPOINT_FAULTS ?? "";
const points = choose();

/**
 * STILLPOINT_FAULTS: "all", or "SCENARIO:FAILPOINT" to run one point again as a failure's title names it; else the
 * short list, of which STILLPOINT_FAULT_SEED draws the sample.
 */
function choose(): readonly KillPoint[] {
  if (which === "all") return allKillPoints;
  if (which === "") return shortList(seed, 16);
  const chosen = allKillPoints.filter((point) => titleOf(point) === which);
  if (chosen.length === 0) throw new Error(`STILLPOINT_FAULTS=${which} is neither "all" nor SCENARIO:FAILPOINT`);
  return chosen;
}

function titleOf({ scenario, failpoint }: KillPoint): string {
  return `${scenario}:${failpoint}`;
}

/** kill -9 at the steps of long jobs: after its restart the operation ends as it should, once, and nothing is left. */
describe(`kill -9 at ${points.length} of ${allKillPoints.length} points (STILLPOINT_FAULT_SEED=${seed})`, () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await setStage(Object.fromEntries(allKillPoints.map(({ failpoint }) => [failpoint, "kill"])));
  }, 240_000);
  afterAll(async () => {
    await stage[Symbol.asyncDispose]();
  }, 120_000);

  test.for(points.map((point) => [titleOf(point), point] as const))(
    "STILLPOINT_FAULTS=%s",
    { timeout: 120_000 },
    async ([, point]) => killAt(stage, point),
  );
});

/** What goes on after the operation's end comes by its failpoint within this time. */
const inBackgroundMs = 10_000;

async function killAt(stage: Stage, { scenario, failpoint, service }: KillPoint): Promise<void> {
  const { prepare, act, verify, cleanUp } = scenarios[scenario];
  await prepare?.(stage);
  const process = stage.cluster.services[service];
  const before = process.deaths;
  await stage.failpoints.arm(failpoint);
  try {
    const outcome = await act(stage);
    await process.untilDead(before, inBackgroundMs);
    await verify(stage, outcome);
    await checkInvariants(stage.cluster);
    await cleanUp?.(stage, outcome);
  } finally {
    await stage.failpoints.disarm(failpoint);
  }
}
