import { withApplied, withTaken } from "../checkpoints/layer-tree.ts";
import type { Manifest } from "../manifest.ts";

const machine = { qemu: "7.2", machineType: "q35", cpu: "max", cpus: 1, memoryBytes: 1, disks: ["root", "disk1"] };

/** A VM with two disks, without a checkpoint. */
export const fresh: Manifest = {
  version: 1,
  uid: "vm-1",
  owner: { operation: "op", epoch: 1 },
  machineType: "q35",
  generationId: "g",
  processUid: null,
  power: "off",
  disks: { root: { sizeBytes: 1, now: "r0" }, disk1: { sizeBytes: 1, now: "d0" } },
  layers: { r0: { disk: "root", parent: null, base: "image" }, d0: { disk: "disk1", parent: null, base: null } },
  checkpoints: {},
  head: null,
  pending: null,
};

export function take(manifest: Manifest, uid: string, excluded = false): Manifest {
  const layers = { root: `r-${uid}`, ...(!excluded && { disk1: `d-${uid}` }) };
  const pending = { operation: "op", checkpoint: uid, layers, ownStop: false };
  return withTaken({ ...manifest, pending }, { kind: "production", machine });
}

export function apply(manifest: Manifest, uid: string, tag: string): Manifest {
  const held = Object.keys(manifest.checkpoints[uid]?.layers ?? {});
  return withApplied(manifest, uid, Object.fromEntries(held.map((disk) => [disk, `${disk}-${tag}`])));
}
