import { createHash, randomBytes } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "#libs/testing";
import type { BenchmarkResult } from "./benchmark.ts";
import { type MeasuredRegistry, startOwnRegistry } from "./registries.ts";
import { type BlobFile, downloadSpeed, requireTools, stayOnTwoCores, uploadSpeed } from "./registry-load.ts";

const clients = 32;
const repository = "bench/memory";
const MIB = 2 ** 20;
const blobBytes = 200 * MIB;

/**
 * The most memory that one process of the registry ever had resident while 32 clients at once push 200 MiB each, then
 * half of them push while the others pull, then all pull. Needs 7 GB of disk.
 */
export async function benchmark(): Promise<BenchmarkResult> {
  await requireTools();
  await stayOnTwoCores();
  await using folder = temporaryFolder();
  const files = await Promise.all(
    Array.from({ length: clients }, (_, place) => makeFile(join(folder.path, `${place}`))),
  );
  const metrics: Record<string, number> = {};
  const baseline: Record<string, number> = {};
  for (const auth of ["none", "token"] as const) {
    await using registry = await startOwnRegistry(auth, repository);
    const key = auth === "none" ? "peak_rss_mib" : "with_token_peak_rss_mib";
    baseline[key] = await peakMib(registry);
    for (const [name, pushers] of [
      ["push", clients],
      ["push and pull", clients / 2],
      ["pull", 0],
    ] as const) {
      await Promise.all(files.map((file, place) => (place < pushers ? push(registry, file) : pull(registry, file))));
      metrics[key] = await peakMib(registry);
      console.log(`auth ${auth}, ${name}: peak so far ${metrics[key].toFixed(0)} MiB`);
    }
  }
  return { metrics, baseline };
}

/** Unlike all others at its beginning; the rest takes no disk. */
async function makeFile(path: string): Promise<BlobFile> {
  await using file = await open(path, "wx");
  await file.write(randomBytes(MIB));
  await file.truncate(blobBytes);
  const hash = createHash("sha256");
  for await (const bytes of createReadStream(path, { highWaterMark: MIB })) hash.update(bytes as Buffer);
  return { path, digest: `sha256:${hash.digest("hex")}` };
}

async function push(registry: MeasuredRegistry, file: BlobFile): Promise<void> {
  await uploadSpeed(registry, repository, file);
}

async function pull(registry: MeasuredRegistry, { digest }: BlobFile): Promise<void> {
  await downloadSpeed(registry, `/v2/${repository}/blobs/${digest}`);
}

async function peakMib({ pid }: MeasuredRegistry): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
}
