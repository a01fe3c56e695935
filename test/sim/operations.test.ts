import { expect, test } from "vitest";
import { reportSimulation } from "../faults/simulation-report.ts";
import { simulate } from "./simulation.ts";

/** One seed to look at, or how many to run. */
const only = process.env.STILLPOINT_SEED;
const count = Number(process.env.STILLPOINT_SEEDS ?? 300);

test("operations end once, whatever dies, sleeps, repeats or is lost", { timeout: 3_600_000 }, async (context) => {
  const seeds = only === undefined ? Array.from({ length: count }, (_, index) => index + 1) : [Number(only)];
  const seen = { crashes: 0, takeovers: 0, terminal: {} as Record<string, number> };
  reportSimulation(context, "test/sim/operations", () => ({ seeds: seeds.length, crashes: seen.crashes }));
  for (const seed of seeds) {
    const { violations, story, crashes, takeovers, terminal } = await simulate(seed);
    if (only !== undefined) console.log(story.join("\n"));
    expect(violations, `seed ${seed}; see it with STILLPOINT_SEED=${seed}`).toEqual([]);
    seen.crashes += crashes;
    seen.takeovers += takeovers;
    for (const [state, number] of Object.entries(terminal)) seen.terminal[state] = (seen.terminal[state] ?? 0) + number;
  }
  console.log(
    `${seeds.length} seeds: ${seen.crashes} crashes, ${seen.takeovers} takeovers, ${JSON.stringify(seen.terminal)}`,
  );
  if (only !== undefined) return;
  // A simulation in which nothing goes wrong shows nothing.
  expect(seen.crashes).toBeGreaterThan(seeds.length);
  expect(seen.takeovers).toBeGreaterThan(seeds.length / 4);
  expect(Object.keys(seen.terminal)).toEqual(expect.arrayContaining(["succeeded", "failed", "cancelled"]));
});

test("the same seed tells the same story", async () => {
  const [first, second] = [await simulate(7), await simulate(7)];
  expect(second.story).toEqual(first.story);
  expect(first.story.length).toBeGreaterThan(10);
});
