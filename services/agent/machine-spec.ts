import { access } from "node:fs/promises";
import { chainOf } from "./checkpoints/layer-tree.ts";
import type { ImageStore, LayerFile, MachineSpec } from "./ports.ts";
import type { Workload } from "./workload.ts";

/** The machine that a workload's definition and manifest ask for. */
export async function machineSpec(workload: Workload, images: ImageStore): Promise<MachineSpec> {
  const { definition, manifest, folder } = workload;
  const image = await images.find(definition.image);
  const hasSeed = definition.userData.length > 0;
  if (hasSeed) await access(folder.seed);
  const words = [image.cmdline, definition.kernelArgs].filter(Boolean).join(" ");
  return {
    uid: workload.uid,
    root: folder.root,
    cpus: definition.cpus,
    memoryBytes: definition.memoryBytes,
    machineType: manifest.machineType,
    generationId: manifest.generationId,
    disks: definition.disks.map(({ id }) => ({ id, chain: diskChain(workload, id, imageBase(image)) })),
    ports: definition.ports,
    isolated: definition.isolated,
    ...(image.kernel && {
      kernel: { path: image.kernel, ...(image.initrd && { initrd: image.initrd }), cmdline: words },
    }),
    ...(hasSeed && { seed: folder.seed }),
    processUid: manifest.processUid,
  };
}

/** A layer as a file. */
export function layerFile(workload: Workload, disk: string, layer: string): LayerFile {
  return { id: layer, path: workload.folder.layer(disk, layer), format: "qcow2" };
}

/** What a layer stands on: another layer, the image, or (undefined) nothing. */
export async function below(workload: Workload, images: ImageStore, layer: string): Promise<LayerFile | undefined> {
  const { disk, parent } = workload.manifest.layers[layer] ?? { disk: "", parent: null };
  if (parent !== null) return layerFile(workload, disk, parent);
  return disk === "root" ? imageBase(await images.find(workload.definition.image)) : undefined;
}

export function imageBase({ digest, disk }: { readonly digest: string; readonly disk: string }): LayerFile {
  return { id: digest, path: disk, format: "raw" };
}

function diskChain(workload: Workload, disk: string, base: LayerFile): LayerFile[] {
  const now = workload.manifest.disks[disk]?.now ?? "";
  const layers = chainOf(workload.manifest, now).map((layer) => layerFile(workload, disk, layer));
  return disk === "root" ? [base, ...layers] : layers;
}
