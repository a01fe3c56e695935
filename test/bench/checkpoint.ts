import { agentReady, importImage, readCheckpoint } from "../demo/database-story.ts";
import { buildGuest } from "../guest/build.ts";
import { type Product, startProduct } from "../harness/product.ts";
import { findQemus } from "../harness/qemu-process.ts";
import { startBareGuest } from "./bare-guest.ts";
import { type BenchmarkResult, median } from "./benchmark.ts";

const pairs = 10;

/** Frozen window and pause of checkpoints through the product, in turn with the bare QMP sequence on an equal guest. */
export async function benchmark(): Promise<BenchmarkResult> {
  await using product = await startProduct();
  await importImage(product, await buildGuest(), "linux:bench");
  for (const name of ["bare-1", "bench-1"]) {
    await product.json("vm", "create", name, "--image", "linux:bench", "--memory", "256MiB");
  }
  await product.json("vm", "start", "bare-1");
  const [qemu] = await findQemus(product.folder);
  if (qemu === undefined) throw new Error("the VM's QEMU is not there");
  await product.json("vm", "stop", "bare-1", "--force");
  await product.json("vm", "start", "bench-1");
  await agentReady(product, "bench-1");

  await using bare = await startBareGuest(qemu);
  const windows = await inTurn("frozen window", bare.frozenWindowMs, async (name) => {
    return (await take(product, name, "production-only")).freeze?.windowMs;
  });
  const pauses = await inTurn("pause", bare.standardPauseMs, async (name) => {
    return (await take(product, name, "standard")).pauseMs;
  });
  return {
    metrics: {
      frozen_window_ratio: windows.product / windows.bare,
      frozen_window_ms: windows.product,
      standard_pause_ms: pauses.product,
      standard_pause_ratio: pauses.product / pauses.bare,
    },
    baseline: { frozen_window_ms: windows.bare, standard_pause_ms: pauses.bare },
  };
}

async function take(product: Product, name: string, type: string) {
  await product.json("checkpoint", "create", "bench-1", "--name", name, "--type", type);
  return (await readCheckpoint(product, "bench-1", name)).receipt;
}

/** Medians of both, measured one after the other, so that a drift of the machine meets both. */
async function inTurn(
  what: string,
  measureBare: () => Promise<number>,
  measureProduct: (name: string) => Promise<number | undefined>,
): Promise<{ bare: number; product: number }> {
  const bare: number[] = [];
  const product: number[] = [];
  for (let pair = 0; pair < pairs; pair++) {
    bare.push(await measureBare());
    const ms = await measureProduct(`${what.replace(" ", "-")}-${pair}`);
    if (ms === undefined) throw new Error(`the receipt does not tell the ${what}`);
    product.push(ms);
    console.log(`${what} ${pair + 1}: bare ${bare.at(-1)?.toFixed(1)} ms, product ${ms.toFixed(1)} ms`);
  }
  return { bare: median(bare), product: median(product) };
}
