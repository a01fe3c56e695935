import { join } from "node:path";
import { changedRanges, type GuestRange } from "#libs/disk-image";

/** What a checkpoint's receipt tells of a disk. */
export interface ReceiptDisk {
  readonly id: string;
  readonly layer: string;
  /** sha256:...; pending until it is computed. */
  readonly digest: string;
}

/** The file of a disk that a checkpoint made, and the parts of the disk whose clusters it holds. */
export interface OwnLayer {
  readonly path: string;
  readonly ranges: readonly GuestRange[];
}

/** The layers that one checkpoint of a VM added. @param data the installation's data folder */
export async function ownLayers(data: string, vmUid: string, disks: readonly ReceiptDisk[]): Promise<OwnLayer[]> {
  return await Promise.all(
    disks.map(async ({ id, layer }) => {
      const path = join(data, "host/workloads", vmUid, "disks", id, `${layer}.qcow2`);
      return { path, ranges: await changedRanges([path]) };
    }),
  );
}

/** Bytes of the clusters that these layers hold. */
export function changedBytes(layers: readonly OwnLayer[]): number {
  return layers.flatMap(({ ranges }) => ranges).reduce((sum, { length }) => sum + length, 0);
}
