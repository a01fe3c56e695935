import { execFile } from "node:child_process";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "vitest";
import { chainOf } from "../checkpoints/layer-tree.ts";
import type { Manifest } from "../manifest.ts";
import { QemuLayers } from "../qemu/block-graph.ts";
import { Qmp } from "../qemu/qmp.ts";
import { connectUnix } from "../qemu/socket.ts";

const run = promisify(execFile);

/**
 * The files of each disk are those of the manifest, sound and sealed, and the QEMU that runs has them open in that
 * order. No agent may have its control socket meanwhile. @param root the workload's folder
 */
export async function expectWholeLayers(root: string): Promise<void> {
  const manifest = JSON.parse(await readFile(join(root, "manifest.json"), "utf8")) as Manifest;
  const now = Object.values(manifest.disks).map((disk) => disk.now);
  for (const disk of Object.keys(manifest.disks)) {
    const files = (await readdir(join(root, "disks", disk))).filter((name) => name.endsWith(".qcow2"));
    const layers = Object.keys(manifest.layers).filter((id) => manifest.layers[id]?.disk === disk);
    expect(files.toSorted()).toEqual(layers.map((id) => `${id}.qcow2`).toSorted());
    for (const layer of layers) await expectSound(join(root, "disks", disk, `${layer}.qcow2`), now.includes(layer));
  }
  await expectTrueHeaders(root);
  if (manifest.power === "on") await expectGraph(root, manifest);
}

/** Each layer's own header says what the manifest does: push, export and copies read disks by their headers. */
export async function expectTrueHeaders(root: string): Promise<void> {
  const { layers } = JSON.parse(await readFile(join(root, "manifest.json"), "utf8")) as Manifest;
  for (const [id, { disk, parent }] of Object.entries(layers)) {
    if (parent === null) continue;
    const { stdout } = await run("qemu-img", ["info", "-U", "--output=json", join(root, "disks", disk, `${id}.qcow2`)]);
    expect((JSON.parse(stdout) as Record<string, unknown>)["backing-filename"]).toMatch(`${parent}.qcow2`);
  }
}

async function expectSound(path: string, isNow: boolean): Promise<void> {
  await run("qemu-img", ["check", "-U", "-f", "qcow2", path]).catch((error: { code: number; stdout: string }) => {
    if (error.code !== 3) throw new Error(`${path} is damaged: ${error.stdout}`); // 3: leaked clusters only
  });
  if (!isNow) expect((await stat(path)).mode & 0o777).toBe(0o444);
}

async function expectGraph(root: string, manifest: Manifest): Promise<void> {
  const qmp = await Qmp.open(await connectUnix(join(root, "run/qmp.sock")));
  const inUse = await new QemuLayers(qmp, root).inUse();
  qmp.close();
  for (const [disk, { now }] of Object.entries(manifest.disks)) {
    expect(inUse.get(disk)).toEqual(chainOf(manifest, now).toReversed());
  }
}
