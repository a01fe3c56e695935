import { expect, test } from "vitest";
import { simulateCluster } from "./cluster-simulation.ts";

/** One seed to look at, or how many to run. */
const only = process.env.STILLPOINT_SEED;
const count = Number(process.env.STILLPOINT_SEEDS ?? 60);

test("the same seed tells the same story", async () => {
  const [first, second] = [await simulateCluster(7), await simulateCluster(7)];
  expect(second.story).toEqual(first.story);
  expect(first.story.length).toBeGreaterThan(50);
});

test("nothing runs twice and no host is over-committed, whatever dies, sleeps or is cut off", {
  timeout: 3_600_000,
}, async () => {
  const seeds = only === undefined ? Array.from({ length: count }, (_, index) => index + 1) : [Number(only)];
  const seen: Record<string, number> = {};
  for (const seed of seeds) {
    const { violations, story, counts } = await simulateCluster(seed);
    if (only !== undefined || violations.length > 0) console.log(story.join("\n"));
    expect(violations, `seed ${seed}; see it with STILLPOINT_SEED=${seed}`).toEqual([]);
    for (const [what, number] of Object.entries(counts)) seen[what] = (seen[what] ?? 0) + number;
  }
  console.log(`${seeds.length} seeds: ${JSON.stringify(seen)}`);
  if (only !== undefined) return;
  // A simulation in which nothing goes wrong shows nothing.
  for (const what of [
    "down",
    "suspected",
    "membership",
    "paused",
    "resumed",
    "ended",
    "recovered",
    "created",
    "crashes",
  ]) {
    expect(seen[what], what).toBeGreaterThan(0);
  }
});
