/** `npm run bench -- NAME`: one benchmark against its baseline in the same run. The last line is JSON. */
import type { Benchmark } from "./benchmark.ts";

const benchmarks: Record<string, () => Promise<{ benchmark: Benchmark }>> = {
  "vm-start": () => import("./vm-start.ts"),
  "frozen-window": () => import("./frozen-window.ts"),
  "standard-pause": () => import("./standard-pause.ts"),
  "checkpoint-cost": () => import("./checkpoint-cost.ts"),
  "chain-read": () => import("./chain-read.ts"),
  merge: () => import("./merge.ts"),
  apply: () => import("./apply.ts"),
  push: () => import("./push.ts"),
  operations: () => import("./operations.ts"),
  "container-run": () => import("./container-run.ts"),
  registry: () => import("./registry.ts"),
  "registry-memory": () => import("./registry-memory.ts"),
  placement: () => import("./placement.ts"),
  heartbeats: () => import("./heartbeats.ts"),
  lists: () => import("./lists.ts"),
  memory: () => import("./memory.ts"),
  fleet: () => import("./fleet.ts"),
};

const name = process.argv[2] ?? "";
const load = benchmarks[name];
if (load === undefined) {
  console.error(`usage: npm run bench -- NAME, where NAME is one of: ${Object.keys(benchmarks).join(", ")}`);
  process.exit(2);
}
const { benchmark } = await load();
const { metrics, baseline } = await benchmark();
console.log("");
for (const [metric, value] of Object.entries(metrics)) {
  const against = baseline[metric];
  console.log(
    `${metric.padEnd(32)} ${value.toFixed(3).padStart(12)}${against === undefined ? "" : `   baseline ${against.toFixed(3)}`}`,
  );
}
console.log(JSON.stringify({ bench: name, metrics, baseline }));
