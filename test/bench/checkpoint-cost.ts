import { CheckpointType } from "#contracts/vm/v1/vm";
import { openBenchStage } from "./bench-stage.ts";
import { type BenchmarkResult, median, timed } from "./benchmark.ts";

const rounds = 7;
const diskGiB = [1, 10, 100];
const checkpoints = 49;
const share = 12;

/** The whole operation of a production checkpoint: whether it grows with the disk, or with the checkpoints before it. */
export async function benchmark(): Promise<BenchmarkResult> {
  await using stage = await openBenchStage();
  const take = (vm: string) => timed(() => stage.api.take(vm, CheckpointType.PRODUCTION_ONLY));
  const bySize: Record<string, number> = {};
  for (const size of diskGiB) {
    const vm = `size-${size}`;
    await stage.boot(vm, "--disk", `${size}GiB`);
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) times.push(await take(vm));
    bySize[`production_${size}_gib_ms`] = median(times);
    console.log(`${size} GiB: ${times.map((ms) => ms.toFixed(0)).join(", ")} ms`);
    if (size !== diskGiB[0]) await stage.product.json("vm", "delete", vm, "--force", "--with-checkpoints");
  }
  const times: number[] = [];
  await stage.boot("many-1");
  for (let taken = 0; taken < checkpoints; taken++) times.push(await take("many-1"));
  const [first, last] = [median(times.slice(0, share)), median(times.slice(-share))];
  console.log(
    `checkpoints 1 to ${share}: ${first.toFixed(0)} ms; the last ${share} of ${checkpoints}: ${last.toFixed(0)} ms`,
  );
  const at = (size: number) => bySize[`production_${size}_gib_ms`] ?? Number.NaN;
  return {
    metrics: { ...bySize, disk_100_gib_to_1_gib_ratio: at(100) / at(1), last_to_first_checkpoints_ratio: last / first },
    baseline: { first_checkpoints_ms: first },
  };
}
