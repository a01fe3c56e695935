import { CheckpointType } from "#contracts/vm/v1/vm";
import { eventually } from "#libs/testing";
import { buildGuest } from "../guest/build.ts";
import { type BareGuest, startBareGuest } from "./bare-guest.ts";
import { type BenchStage, openBenchStage } from "./bench-stage.ts";
import { type BenchmarkResult, median, timed } from "./benchmark.ts";
import { nameOf } from "./checkpoint-client.ts";
import { hasLibvirt, type LibvirtGuest, startLibvirtGuest } from "./libvirt-guest.ts";

const rounds = 3;
const depth = 3;
const pieceMiB = 86;
const totalMiB = depth * pieceMiB;
const diskMiB = 1024;

/** A new piece of 86 MiB, so that each layer holds its own. */
const write = (piece: number) =>
  `dd if=/dev/urandom of=/data2/piece bs=1M count=${pieceMiB} seek=${piece * pieceMiB} conv=notrunc 2>/dev/null; sync`;

/**
 * How fast a chain of three layers with 258 MiB in all is merged under a VM that runs: by deleting its checkpoints, in
 * turn with a bare `block-commit` and, where it is installed, with `virsh blockcommit`.
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
  const found: { product: number[]; bare: number[]; libvirt: number[] } = { product: [], bare: [], libvirt: [] };
  for (let round = 0; round < rounds; round++) {
    found.bare.push(totalMiB / (await mergeBare(bare)));
    found.product.push(totalMiB / (await mergeProduct(stage)));
    if (libvirt !== undefined) found.libvirt.push(totalMiB / (await mergeLibvirt(libvirt)));
    console.log(
      Object.entries(found)
        .map(([name, all]) => `${name} ${all.at(-1)?.toFixed(0)} MiB/s`)
        .join(", "),
    );
  }
  const [product, withoutUs] = [median(found.product), median(found.bare)];
  const metrics = { merge_mib_per_s: product, merge_ratio: product / withoutUs };
  const baseline = { merge_mib_per_s: withoutUs };
  if (libvirt === undefined) return { metrics, baseline };
  const theirs = median(found.libvirt);
  return {
    metrics: { ...metrics, merge_libvirt_ratio: product / theirs },
    baseline: { ...baseline, merge_libvirt_mib_per_s: theirs },
  };
}

/** Seconds from asking for the deletion until nothing is left to be merged. */
async function mergeProduct({ api, shell }: BenchStage): Promise<number> {
  const first = await api.take("bench-1", CheckpointType.PRODUCTION_ONLY);
  for (let piece = 0; piece < depth; piece++) {
    await shell("bench-1", write(piece));
    if (piece < depth - 1) await api.take("bench-1", CheckpointType.PRODUCTION_ONLY);
  }
  await api.take("bench-1", CheckpointType.PRODUCTION_ONLY);
  const parent = nameOf("bench-1");
  const ms = await timed(async () => {
    await api.finish(await api.checkpoints.deleteCheckpoint({ name: first.name, subtree: true }));
    await eventually(async () => (await api.checkpoints.listCheckpoints({ parent })).storage?.mergeDebtBytes === 0, {
      deadlineMs: 120_000,
      everyMs: 10,
    });
  });
  return ms / 1000;
}

async function mergeBare({ qmp, guest, addLayers }: BareGuest): Promise<number> {
  const base = await dataNode(qmp);
  const layers: string[] = [];
  for (let piece = 0; piece < depth; piece++) {
    await addLayers();
    await runInGuest(guest, write(piece));
    layers.unshift(await dataNode(qmp));
  }
  const [device] = layers;
  const over = (event: string) => qmp.nextEvent((message) => message.event === event, 120_000);
  const ms = await timed(async () => {
    const [ready, completed] = [over("BLOCK_JOB_READY"), over("BLOCK_JOB_COMPLETED")];
    await qmp.run("block-commit", { "job-id": "merge", device, "base-node": base });
    await ready;
    await qmp.run("job-complete", { id: "merge" });
    await completed;
  });
  for (const node of layers) await qmp.run("blockdev-del", { "node-name": node });
  return ms / 1000;
}

async function mergeLibvirt({ addLayer, commitMs, shell, topFile }: LibvirtGuest): Promise<number> {
  const base = await topFile("vdb");
  for (let piece = 0; piece < depth; piece++) {
    await addLayer();
    await shell(write(piece));
  }
  return (await commitMs("vdb", base)) / 1000;
}

async function dataNode(qmp: BareGuest["qmp"]): Promise<string> {
  const blocks = await qmp.run<{ qdev?: string; inserted?: { "node-name": string } }[]>("query-block");
  const node = blocks.find(({ qdev }) => qdev?.includes("disk-disk1"))?.inserted?.["node-name"];
  if (node === undefined) throw new Error("the guest has no second disk");
  return node;
}

async function runInGuest(guest: BareGuest["guest"], line: string): Promise<void> {
  const { pid } = await guest.call<{ pid: number }>("guest-exec", { path: "/bin/sh", arg: ["-c", line] });
  await eventually(async () => (await guest.call<{ exited: boolean }>("guest-exec-status", { pid })).exited, {
    deadlineMs: 120_000,
  });
}
