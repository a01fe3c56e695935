import { CheckpointType } from "#contracts/vm/v1/vm";
import { type BenchStage, openBenchStage } from "./bench-stage.ts";
import { type BenchmarkResult, median } from "./benchmark.ts";

const overlays = 20;
const pieceMiB = 8;
const rounds = 7;

/** What a guest reads in a second from a file that lies in 20 overlays, in turn with an equal one on a flat disk. */
export async function benchmark(): Promise<BenchmarkResult> {
  await using stage = await openBenchStage();
  for (const vm of ["chain-1", "flat-1"]) await stage.boot(vm, "--disk", "1GiB");
  for (let piece = 0; piece < overlays; piece++) {
    const line = `dd if=/dev/urandom of=/data2/file bs=1M count=${pieceMiB} seek=${piece * pieceMiB} conv=notrunc 2>/dev/null; sync`;
    for (const vm of ["chain-1", "flat-1"]) await stage.shell(vm, line);
    await stage.api.take("chain-1", CheckpointType.PRODUCTION_ONLY);
  }
  const found: { chain: number[]; flat: number[] } = { chain: [], flat: [] };
  for (let round = 0; round < rounds; round++) {
    found.flat.push(await readRate(stage, "flat-1"));
    found.chain.push(await readRate(stage, "chain-1"));
    console.log(`flat ${found.flat.at(-1)?.toFixed(0)} MiB/s, chain ${found.chain.at(-1)?.toFixed(0)} MiB/s`);
  }
  const [chain, flat] = [median(found.chain), median(found.flat)];
  return {
    metrics: { chain_read_mib_per_s: chain, chain_read_ratio: chain / flat },
    baseline: { chain_read_mib_per_s: flat },
  };
}

/** Four times the whole file, past the guest's cache; timed in the guest, in hundredths of a second. */
async function readRate({ shell }: BenchStage, vm: string): Promise<number> {
  const once = "echo 3 >/proc/sys/vm/drop_caches; cat /data2/file >/dev/null";
  const [begin, end] = (
    await shell(vm, `cut -d' ' -f1 /proc/uptime; for i in 1 2 3 4; do ${once}; done; cut -d' ' -f1 /proc/uptime`)
  ).split("\n");
  return (4 * overlays * pieceMiB) / (Number(end) - Number(begin));
}
