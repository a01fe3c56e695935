import { expect, test } from "vitest";
import { reportSimulation } from "../../faults/simulation-report.ts";
import { simulateCluster } from "./cluster-simulation.ts";

/** One seed to look at, or how many to run. */
const only = process.env.STILLPOINT_SEED;
const count = Number(process.env.STILLPOINT_SEEDS ?? 60);
const again = (seed: number) =>
  `seed ${seed}; run it again with: STILLPOINT_SEED=${seed} npx vitest run --project unit test/sim/cluster/cluster.test.ts`;

test.skipIf(only !== undefined).each([
  [2690, "a VM that came to a host which failed as well, and was back before the next recovery, was never started"],
  [545, "a VM was brought to the host again that had just been given up and told to forget it, and had no place there"],
  [
    561,
    "a worker that had not seen yet how its own operation ended claimed it again, and went through all of it twice",
  ],
  [370, "a step that was late on its way struck after it had been taken back"],
  [10365, "a VM that had come to its new host was not started there, as that did not answer for some seconds"],
  [10247, "a recovered VM stood still for want of a lease, asked for a last thing by the recovery that it waited for"],
  [244, "a worker that had not heard that its move was over placed the VM anew, away from where it had just come to"],
  [
    2023,
    "a start of an operation that had ended came late to a host that was back, after its VM was recovered elsewhere",
  ],
  [
    2448,
    "a VM that a move had stopped was started by nobody: its host was back before it was found that no other had room",
  ],
  [
    497,
    "a VM that a move had stopped was started by nobody: its host was back after it was found that no other had room",
  ],
  [
    2287,
    "a recovered VM was started by nobody: its new host went down before that, no other had room, and it came back",
  ],
  [
    3564,
    "a worker that stood still since its move began placed the VM anew where that had come to meanwhile, and so took its place",
  ],
])("seed %i: %s", async (seed) => {
  const { violations, story } = await simulateCluster(seed);
  expect(violations, `${story.join("\n")}\n${again(seed)}`).toEqual([]);
});

test("the same seed tells the same story", async () => {
  const [first, second] = [await simulateCluster(7), await simulateCluster(7)];
  expect(second.story).toEqual(first.story);
  expect(first.story.length).toBeGreaterThan(50);
});

test("nothing runs twice and no host is over-committed, whatever dies, sleeps or is cut off", {
  timeout: 3_600_000,
}, async (context) => {
  const seeds = only === undefined ? Array.from({ length: count }, (_, index) => index + 1) : [Number(only)];
  const seen: Record<string, number> = {};
  reportSimulation(context, "test/sim/cluster", () => ({ seeds: seeds.length, crashes: seen.crashes ?? 0 }));
  for (const seed of seeds) {
    const { violations, story, counts } = await simulateCluster(seed);
    if (only !== undefined || violations.length > 0) console.log(story.join("\n"));
    expect(violations, again(seed)).toEqual([]);
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
    "moved",
    "created",
    "crashes",
  ]) {
    expect(seen[what], what).toBeGreaterThan(0);
  }
});
