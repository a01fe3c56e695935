import { CheckpointType } from "#contracts/vm/v1/vm";
import { startBareGuest } from "./bare-guest.ts";
import { openBenchStage } from "./bench-stage.ts";
import { type BenchmarkResult, median } from "./benchmark.ts";
import { receiptOf } from "./checkpoint-client.ts";

const rounds = 7;
const memoryMiB = [256, 1024, 2048];

/** How long a guest stands in a standard checkpoint, by its memory, in turn with the bare sequence on an equal guest. */
export async function benchmark(): Promise<BenchmarkResult> {
  const metrics: Record<string, number> = {};
  const baseline: Record<string, number> = {};
  for (const size of memoryMiB) {
    const { bare, product } = await measure(size);
    metrics[`standard_pause_${size}_mib_ms`] = product;
    baseline[`standard_pause_${size}_mib_ms`] = bare;
    metrics[`standard_pause_${size}_mib_ratio`] = product / bare;
  }
  const at = (size: number | undefined) => metrics[`standard_pause_${size}_mib_ms`] ?? Number.NaN;
  metrics.standard_pause_growth_ms_per_gib = (at(memoryMiB.at(-1)) - at(memoryMiB[0])) / (1792 / 1024);
  return { metrics, baseline };
}

async function measure(size: number) {
  await using stage = await openBenchStage();
  const memory = ["--memory", `${size}MiB`];
  await stage.boot("bench-1", ...memory);
  await using bare = await startBareGuest(await stage.twin("bare-1", ...memory));
  const pauses: { bare: number[]; product: number[] } = { bare: [], product: [] };
  for (let round = 0; round < rounds; round++) {
    pauses.bare.push(await bare.standardPauseMs());
    const taken = await stage.api.take("bench-1", CheckpointType.STANDARD);
    pauses.product.push(receiptOf(taken).pauseMs ?? Number.NaN);
    console.log(
      `${size} MiB: bare ${pauses.bare.at(-1)?.toFixed(1)} ms, product ${pauses.product.at(-1)?.toFixed(1)} ms`,
    );
  }
  return { bare: median(pauses.bare), product: median(pauses.product) };
}
