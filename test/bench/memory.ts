import { bringBackDatabase } from "../demo/database-story.ts";
import { showFallback } from "../demo/fallback-story.ts";
import { Report } from "../demo/report.ts";
import { resumeInstant } from "../demo/standard-story.ts";
import { buildGuest } from "../guest/build.ts";
import { costOf } from "../harness/process-cost.ts";
import { startProduct } from "../harness/product.ts";
import type { BenchmarkResult } from "./benchmark.ts";

/** Resident memory of the one process of `stillpoint dev` before and after the demo; guests and servers are apart. */
export async function benchmark(): Promise<BenchmarkResult> {
  const guest = await buildGuest();
  await using product = await startProduct();
  const idle = await residentMib(product.pid);
  const report = new Report();
  await bringBackDatabase(product, guest, report);
  await resumeInstant(product, report);
  await showFallback(product, guest, report);
  return {
    metrics: { control_plane_rss_mib: await residentMib(product.pid) },
    baseline: { control_plane_idle_rss_mib: idle },
  };
}

const residentMib = async (pid: number): Promise<number> => (await costOf(pid)).residentMib;
