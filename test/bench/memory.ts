import { readFile } from "node:fs/promises";
import { bringBackDatabase } from "../demo/database-story.ts";
import { showFallback } from "../demo/fallback-story.ts";
import { Report } from "../demo/report.ts";
import { resumeInstant } from "../demo/standard-story.ts";
import { buildGuest } from "../guest/build.ts";
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

async function residentMib(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
}
