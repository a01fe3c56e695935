import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { CheckpointType } from "#contracts/vm/v1/vm";
import { eventually } from "#libs/testing";
import { buildGuest } from "../guest/build.ts";
import type { Product } from "../harness/product.ts";
import { type BareGuest, startBareGuest } from "./bare-guest.ts";
import { type BenchStage, openBenchStage } from "./bench-stage.ts";
import { type BenchmarkResult, median, timed } from "./benchmark.ts";
import { nameOf } from "./checkpoint-client.ts";
import { hasLibvirt, type LibvirtGuest, startLibvirtGuest } from "./libvirt-guest.ts";

const rounds = 7;
const depth = 3;
const pieceMiB = 86;
const totalMiB = depth * pieceMiB;
const diskMiB = 1024;
/** The root disk's layers hold next to nothing. */
const disks = 2;

/** The same 86 MiB in each round, so that the file that is merged into has room for them from the second one on. */
const write = (piece: number) =>
  `dd if=/dev/urandom of=/data2/piece bs=1M count=${pieceMiB} seek=${piece * pieceMiB} conv=notrunc 2>/dev/null; sync`;

const fill = Array.from({ length: depth }, (_, piece) => write(piece)).join("; ");

/** Seconds of one round. */
interface Round {
  /** From the first merge's begin to the last one's durable end, as the agent's log tells. */
  readonly product: number;
  /** From asking for the deletion over the API to that end. */
  readonly whole: number;
  readonly bare: number;
  readonly libvirt: number;
}

/**
 * How fast a chain of three layers with 258 MiB in all is merged under a VM that runs: by deleting its checkpoints, in
 * turn with a bare `block-commit` and, where it is installed, with `virsh blockcommit`. All three merge the same three
 * layers of 86 MiB each into a file that holds those places already, and the nearly empty ones of the root disk beside
 * them. Bare promises what the product does: its end is the reply to a flush of the file that was merged into.
 */
export async function benchmark(): Promise<BenchmarkResult> {
  await using stage = await openBenchStage();
  const disk = ["--disk", `${diskMiB}MiB`];
  await stage.boot("bench-1", ...disk);
  await using bare = await startBareGuest(await stage.twin("bare-1", ...disk));
  const guest = await buildGuest();
  await using libvirt = (await hasLibvirt())
    ? await startLibvirtGuest({ guest, memoryMiB: 256, diskMiB: [diskMiB] })
    : undefined;
  await stage.shell("bench-1", fill);
  await runInGuest(bare.guest, fill);
  await libvirt?.shell(fill);
  const found: Round[] = [];
  for (let round = 0; round < rounds; round++) {
    const seconds = {
      bare: await mergeBare(bare),
      ...(await mergeProduct(stage)),
      libvirt: libvirt === undefined ? Number.NaN : await mergeLibvirt(libvirt),
    };
    found.push(seconds);
    const speeds = Object.entries(seconds).map(([name, all]) => `${name} ${(totalMiB / all).toFixed(0)} MiB/s`);
    console.log(speeds.join(", "));
  }
  return result(found, libvirt !== undefined);
}

/** Ratios are those of one round, in which the machine is as busy for each. */
function result(found: readonly Round[], withLibvirt: boolean): BenchmarkResult {
  const of = (read: (round: Round) => number) => median(found.map(read));
  const metrics = {
    merge_mib_per_s: of(({ product }) => totalMiB / product),
    merge_ratio: of(({ product, bare }) => bare / product),
    merge_whole_mib_per_s: of(({ whole }) => totalMiB / whole),
    merge_whole_ratio: of(({ whole, bare }) => bare / whole),
  };
  const bare = of((round) => totalMiB / round.bare);
  const baseline = { merge_mib_per_s: bare, merge_whole_mib_per_s: bare };
  if (!withLibvirt) return { metrics, baseline };
  return {
    metrics: {
      ...metrics,
      merge_libvirt_ratio: of(({ product, libvirt }) => libvirt / product),
      merge_whole_libvirt_ratio: of(({ whole, libvirt }) => libvirt / whole),
    },
    baseline: { ...baseline, merge_libvirt_mib_per_s: of(({ libvirt }) => totalMiB / libvirt) },
  };
}

async function mergeProduct({ api, shell, product }: BenchStage): Promise<Pick<Round, "product" | "whole">> {
  const first = await api.take("bench-1", CheckpointType.PRODUCTION_ONLY);
  for (let piece = 0; piece < depth; piece++) {
    if (piece > 0) await api.take("bench-1", CheckpointType.PRODUCTION_ONLY);
    await shell("bench-1", write(piece));
  }
  const before = (await mergesOf(product)).length;
  const askedAt = Date.now();
  const operation = await api.checkpoints.deleteCheckpoint({ name: first.name, subtree: true });
  // Whoever asked the API every few milliseconds would be what is measured.
  const merges = await eventually(
    async () => {
      const found = (await mergesOf(product)).slice(before);
      return found.length >= disks && found;
    },
    { deadlineMs: 120_000, everyMs: 50 },
  );
  const copied = merges.reduce((sum, { bytes }) => sum + bytes, 0);
  if (copied < totalMiB * 2 ** 20) throw new Error(`only ${copied} bytes were merged`);
  await api.finish(operation);
  const { storage } = await api.checkpoints.listCheckpoints({ parent: nameOf("bench-1") });
  if (storage?.mergeDebtBytes !== 0) throw new Error(`${storage?.mergeDebtBytes} bytes are still to be merged`);
  const begin = Math.min(...merges.map(({ time, ms }) => time - ms));
  const end = Math.max(...merges.map(({ time }) => time));
  return { product: (end - begin) / 1000, whole: (end - askedAt) / 1000 };
}

interface LoggedMerge {
  /** When it was durable, in milliseconds since 1970. */
  readonly time: number;
  readonly ms: number;
  readonly bytes: number;
}

async function mergesOf({ folder }: Product): Promise<LoggedMerge[]> {
  const lines = (await readFile(join(folder, "data/log/stillpoint.log"), "utf8")).split("\n");
  return lines.filter((line) => line.includes('"merged layers"')).map((line) => JSON.parse(line) as LoggedMerge);
}

async function mergeBare({ qmp, guest, addLayers }: BareGuest): Promise<number> {
  const bases = await nodesOf(qmp);
  const layers: (readonly string[])[] = [];
  for (let piece = 0; piece < depth; piece++) {
    await addLayers();
    await runInGuest(guest, write(piece));
    layers.unshift(await nodesOf(qmp));
  }
  const ms = await timed(() => Promise.all(bases.map((base, disk) => commitBare(qmp, layers[0]?.[disk] ?? "", base))));
  for (const node of layers.flat()) await qmp.run("blockdev-del", { "node-name": node });
  return ms / 1000;
}

async function commitBare(qmp: BareGuest["qmp"], device: string, base: string): Promise<void> {
  const id = `merge-${base}`;
  const over = (name: string) => qmp.nextEvent(({ event, data }) => event === name && data.device === id, 120_000);
  const [ready, completed] = [over("BLOCK_JOB_READY"), over("BLOCK_JOB_COMPLETED")];
  await qmp.run("block-commit", { "job-id": id, device, "base-node": base });
  await ready;
  await qmp.run("job-complete", { id });
  await completed;
  await qmp.run("human-monitor-command", { "command-line": `qemu-io ${base} flush` });
}

async function mergeLibvirt({ addLayer, commitMs, shell, topFile }: LibvirtGuest): Promise<number> {
  const names = ["vda", "vdb"];
  const bases = await Promise.all(names.map(topFile));
  for (let piece = 0; piece < depth; piece++) {
    await addLayer();
    await shell(write(piece));
  }
  const ms = await timed(() => Promise.all(names.map((disk, index) => commitMs(disk, bases[index] ?? ""))));
  return ms / 1000;
}

/** What each disk is written to now. */
async function nodesOf(qmp: BareGuest["qmp"]): Promise<string[]> {
  const blocks = await qmp.run<{ qdev?: string; inserted?: { "node-name": string } }[]>("query-block");
  const nodes = blocks.filter(({ qdev }) => qdev?.includes("disk-")).map(({ inserted }) => inserted?.["node-name"]);
  return nodes.filter((node) => node !== undefined);
}

async function runInGuest(guest: BareGuest["guest"], line: string): Promise<void> {
  const { pid } = await guest.call<{ pid: number }>("guest-exec", { path: "/bin/sh", arg: ["-c", line] });
  await eventually(async () => (await guest.call<{ exited: boolean }>("guest-exec-status", { pid })).exited, {
    deadlineMs: 120_000,
  });
}
