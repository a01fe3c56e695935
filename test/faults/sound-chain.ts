import { readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { checkImage } from "#libs/disk-image";
import type { QemuProcess } from "../harness/qemu-process.ts";
import { InvariantViolation } from "./invariant-violation.ts";

interface Manifest {
  readonly disks: Readonly<Record<string, { readonly now: string }>>;
  readonly layers: Readonly<Record<string, { readonly disk: string; readonly parent: string | null }>>;
  readonly pending: unknown;
}

/**
 * The layers that a running QEMU holds open are the ones that the manifest says *now* stands on, neither more nor
 * less; and the metadata of every layer that is not written to is sound.
 */
export async function checkChain(qemu: QemuProcess): Promise<void> {
  const manifest = JSON.parse(await readFile(join(qemu.folder, "manifest.json"), "utf8")) as Manifest;
  if (manifest.pending !== null) throw new Error("a checkpoint is half taken");
  const wanted = Object.values(manifest.disks).flatMap(({ now }) => chainOf(manifest, now));
  const open = await openLayers(qemu.pid);
  if (open.join() !== wanted.toSorted().join()) {
    throw new InvariantViolation(`QEMU holds ${open.join(", ")} open; the manifest says ${wanted.join(", ")}`);
  }
  const written = new Set(Object.values(manifest.disks).map(({ now }) => now));
  for (const [layer, { disk }] of Object.entries(manifest.layers)) {
    if (written.has(layer)) continue; // QEMU's lock is on it
    const { corruptions } = await checkImage(join(qemu.folder, "disks", disk, `${layer}.qcow2`));
    if (corruptions > 0) throw new InvariantViolation(`layer ${layer} of ${disk} has ${corruptions} wrong entries`);
  }
}

function chainOf({ layers }: Manifest, top: string): string[] {
  const chain: string[] = [];
  for (let layer: string | null = top; layer !== null; layer = layers[layer]?.parent ?? null) chain.push(layer);
  return chain;
}

async function openLayers(pid: number): Promise<string[]> {
  const handles = await readdir(`/proc/${pid}/fd`);
  const paths = await Promise.all(handles.map((handle) => readlink(`/proc/${pid}/fd/${handle}`).catch(() => "")));
  const layers = paths.map((path) => /\/([^/]+)\.qcow2$/.exec(path)?.[1]).filter((layer) => layer !== undefined);
  return [...new Set(layers)].toSorted();
}
