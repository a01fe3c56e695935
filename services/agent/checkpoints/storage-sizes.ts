import { join } from "node:path";
import type { CheckpointSize } from "#contracts/vm/v1/vm";
import type { DiskStore } from "../ports.ts";
import type { Workload } from "../workload.ts";
import { hiddenLayers, possibleMerges } from "./layer-graph.ts";
import { chainOf } from "./layer-tree.ts";
import { RAM_FILE } from "./ram-file.ts";

export interface StorageSizes {
  /** All layers of the workload, those of now included. */
  readonly totalBytes: number;
  readonly mergeDebtBytes: number;
  readonly hiddenLayers: number;
  readonly sizes: CheckpointSize[];
}

/** What a workload's files take on the host. */
export async function storageSizes(disks: Pick<DiskStore, "usedBytes">, workload: Workload): Promise<StorageSizes> {
  const { manifest, folder } = workload;
  const used = (path: string) => disks.usedBytes(path).catch(() => 0); // removed meanwhile
  const measured = Object.entries(manifest.layers).map(
    async ([id, { disk }]) => [id, await used(folder.layer(disk, id))] as const,
  );
  const bytesOf = new Map(await Promise.all(measured));
  const sum = (layers: readonly string[]) => layers.reduce((bytes, layer) => bytes + (bytesOf.get(layer) ?? 0), 0);
  const sizes = await Promise.all(
    Object.entries(manifest.checkpoints).map(async ([uid, { kind, layers }]) => {
      const ramBytes = kind === "standard" ? await used(join(folder.checkpoint(uid), RAM_FILE)) : 0;
      const tops = Object.values(layers);
      const chains = tops.flatMap((top) => chainOf(manifest, top));
      return { uid, ownBytes: sum(tops) + ramBytes, cumulativeBytes: sum(chains) + ramBytes };
    }),
  );
  return {
    totalBytes: sum([...bytesOf.keys()]),
    mergeDebtBytes: sum(possibleMerges(manifest).flatMap(({ run }) => run)),
    hiddenLayers: hiddenLayers(manifest).length,
    sizes,
  };
}
