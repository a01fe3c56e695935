import { access } from "node:fs/promises";
import { Recovery } from "#contracts/vm/v1/vm";
import { chainOf, layerOf } from "./checkpoints/layer-tree.ts";
import type { ImageStore, LayerFile, MachineSpec } from "./ports.ts";
import type { Workload } from "./workload.ts";

/** The machine that a workload's definition and manifest ask for. */
export async function machineSpec(workload: Workload, images: ImageStore): Promise<MachineSpec> {
  const { definition, manifest, folder } = workload;
  const hasSeed = definition.userData.length > 0;
  if (hasSeed) await access(folder.seed);
  return {
    uid: workload.uid,
    root: folder.root,
    cpus: definition.cpus,
    memoryBytes: definition.memoryBytes,
    machineType: manifest.machineType,
    generationId: manifest.generationId,
    disks: await Promise.all(
      definition.disks.map(async ({ id }) => ({ id, chain: await chainFiles(workload, images, nowOf(workload, id)) })),
    ),
    ports: definition.ports,
    isolated: definition.isolated,
    ...(await directBoot(workload, images)),
    ...(hasSeed && { seed: folder.seed }),
    processUid: manifest.processUid,
    fenced: definition.recovery === Recovery.RESTART,
  };
}

/** Kernel, initrd and command line that a workload boots without a boot loader; undefined for one with a boot loader. */
export async function bootOf({ definition, manifest, folder }: Workload, images: ImageStore) {
  if (manifest.boot !== undefined) {
    const { initrd, cmdline } = manifest.boot;
    const kernel = folder.bootFiles.kernel;
    return { kernel, ...(initrd !== undefined && { initrd: folder.bootFiles.initrd }), cmdline };
  }
  if (definition.image === "") return undefined;
  const { kernel, initrd, cmdline = "" } = await images.find(definition.image);
  return kernel === undefined ? undefined : { kernel, ...(initrd !== undefined && { initrd }), cmdline };
}

/** A layer as a file. */
export function layerFile(workload: Workload, disk: string, layer: string): LayerFile {
  return { id: layer, path: workload.folder.layer(disk, layer), format: "qcow2" };
}

/** What a layer stands on: another layer, an image, or (undefined) nothing. */
export async function below(workload: Workload, images: ImageStore, layer: string): Promise<LayerFile | undefined> {
  const { disk, parent, base } = layerOf(workload.manifest, layer);
  if (parent !== null) return layerFile(workload, disk, parent);
  return base === null ? undefined : imageBase(await images.find(base));
}

/** The files that a disk with this top layer consists of, the base first. */
export async function chainFiles(workload: Workload, images: ImageStore, top: string): Promise<LayerFile[]> {
  const chain = chainOf(workload.manifest, top);
  const base = await below(workload, images, chain[0] ?? top);
  const layers = chain.map((layer) => layerFile(workload, layerOf(workload.manifest, layer).disk, layer));
  return base === undefined ? layers : [base, ...layers];
}

function imageBase({ digest, disk }: { readonly digest: string; readonly disk: string }): LayerFile {
  return { id: digest, path: disk, format: "raw" };
}

function nowOf({ manifest }: Workload, disk: string): string {
  return manifest.disks[disk]?.now ?? "";
}

async function directBoot(workload: Workload, images: ImageStore): Promise<Pick<MachineSpec, "kernel">> {
  const boot = await bootOf(workload, images);
  if (boot === undefined) return {};
  const { kernel: path, initrd } = boot;
  const cmdline = [boot.cmdline, workload.definition.kernelArgs].filter(Boolean).join(" ");
  return { kernel: { path, ...(initrd !== undefined && { initrd }), cmdline } };
}
