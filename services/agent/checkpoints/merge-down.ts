import { open } from "node:fs/promises";
import { StillpointError } from "#libs/errors";
import { failpoint } from "#libs/failpoints";
import type { AgentParts } from "../actions/agent-parts.ts";
import { chainFiles, layerFile } from "../machine-spec.ts";
import type { Manifest } from "../manifest.ts";
import type { Machine, MergeControl } from "../ports.ts";
import type { Workload } from "../workload.ts";
import {
  changedByDown,
  type LayerMerge,
  possibleMerges,
  standingOn,
  withDiskOf,
  withMergedDown,
} from "./layer-graph.ts";
import { chainOf } from "./layer-tree.ts";

/** A merge down must copy less than the one up by that much and to that part of it: up is the simpler way. */
const CLEARLY = { lessBytes: 64 * 2 ** 20, part: 3 / 4 };

/**
 * Bytes that a run's upper layers and the one above it take, where they are clearly less than the run's and may be
 * written down into its bottom layer; undefined where the run is to be merged up. Nobody else may need the bottom layer,
 * and one layer at the most may stand on the top: its file must say what it stands on then.
 */
export async function bytesDown({ disks }: AgentParts, workload: Workload, merge: LayerMerge) {
  const { folder, manifest } = workload;
  const { disk, run, into: top } = merge;
  const changed = changedByDown(manifest, merge);
  if (changed === undefined) return undefined;
  const paths = [...run, top].map((layer) => folder.layer(disk, layer));
  const [lowest = 0, ...upper] = await Promise.all(paths.map((path) => disks.usedBytes(path)));
  const down = upper.reduce((sum, bytes) => sum + bytes, 0);
  const up = lowest + down - (upper.at(-1) ?? 0);
  if (up - down < CLEARLY.lessBytes || down > up * CLEARLY.part) return undefined;
  const shared = await Promise.all(changed.map((layer) => disks.isShared(folder.layer(disk, layer))));
  return shared.includes(true) ? undefined : down;
}

/**
 * Writes all of a run, and the layer above it, down into its bottom layer, which then takes that layer's place. While
 * it is written all that is new in it lies in the layers above it too: until the manifest says otherwise they are the
 * truth.
 */
export async function pushDown(
  parts: AgentParts,
  workload: Workload,
  merge: LayerMerge,
  control: MergeControl,
): Promise<void> {
  const { disk, run, into: top } = merge;
  const [bottom = ""] = run;
  const [above] = standingOn(workload.manifest, top);
  const { machine } = workload;
  const inUse = (await machine?.layers.inUse())?.get(disk) ?? [];
  if (machine !== undefined && inUse.includes(top)) {
    refuseOtherGraph(workload.manifest, disk, inUse);
    await (above === undefined
      ? switchDown(machine, workload, merge, control)
      : pushUnder(parts, workload, merge, { machine, above, device: inUse[0] ?? "" }, control));
  } else {
    const into = layerFile(workload, disk, bottom);
    const { folder, manifest } = workload;
    const chain = await chainFiles(workload, parts.images, top);
    await parts.disks.pushDown({ root: folder.root, processUid: manifest.processUid, chain, into }, control);
    await failpoint("agent.merge.copied");
    if (above !== undefined) await parts.disks.restOn(folder.layer(disk, above), into.path);
  }
}

/**
 * A merge down changes the file above before the manifest. Between the two all is copied, and durable: what is left is
 * to say so. Gives true when there was such a one.
 */
export async function finishMergesDown({ disks }: AgentParts, workload: Workload): Promise<boolean> {
  let isFinished = false;
  for (const merge of possibleMerges(workload.manifest)) {
    const [above, ...others] = standingOn(workload.manifest, merge.into);
    if (above === undefined || others.length > 0 || !(await isUnder(disks, workload, merge, above))) continue;
    await workload.save((manifest) => withMergedDown(manifest, merge));
    isFinished = true;
  }
  return isFinished;
}

/** A merge up would remove a layer that the file above stands on already. @throws StillpointError INTERNAL */
export async function refuseHalfDown({ disks }: AgentParts, workload: Workload, merge: LayerMerge): Promise<void> {
  for (const above of standingOn(workload.manifest, merge.into)) {
    if (!(await isUnder(disks, workload, merge, above))) continue;
    throw new StillpointError("INTERNAL", `layer ${above} stands on ${merge.run[0]} already`);
  }
}

function isUnder(disks: AgentParts["disks"], { folder }: Workload, { disk, run }: LayerMerge, above: string) {
  return disks.standsOn(folder.layer(disk, above), folder.layer(disk, run[0] ?? ""));
}

/** The layer that the machine writes to. From the instant of the switch on only the lower one has what is written. */
async function switchDown(machine: Machine, workload: Workload, merge: LayerMerge, control: MergeControl) {
  const { disk, run, into: top } = merge;
  const before = workload.manifest;
  let isSwitching = false;
  const files = { top: layerFile(workload, disk, top), into: layerFile(workload, disk, run[0] ?? "") };
  try {
    await machine.layers.pushDown({ ...files, above: null, device: top }, control, async () => {
      isSwitching = true;
      await failpoint("agent.merge.copied");
      await workload.save((manifest) => withMergedDown(manifest, merge));
      await failpoint("agent.merge.switching");
    });
  } catch (error) {
    const inUse = isSwitching ? await machine.layers.inUse().catch(() => undefined) : undefined;
    if (inUse?.get(disk)?.[0] === top) {
      await workload.save((manifest) => withDiskOf(manifest, before, disk));
    }
    throw error;
  }
}

interface Under {
  readonly machine: Machine;
  readonly above: string;
  readonly device: string;
}

async function pushUnder(
  { disks }: AgentParts,
  workload: Workload,
  merge: LayerMerge,
  { machine, above, device }: Under,
  control: MergeControl,
): Promise<void> {
  const { disk, run, into: top } = merge;
  const file = (layer: string) => layerFile(workload, disk, layer);
  const commit = { top: file(top), into: file(run[0] ?? ""), above: file(above), device };
  try {
    await machine.layers.pushDown(commit, control, () => failpoint("agent.merge.copied"));
  } catch (error) {
    // The file says so only when all is copied and durable: a machine that fell after that has done its part.
    if (!(await isUnder(disks, workload, merge, above))) throw error;
  }
  await using header = await open(commit.above.path, "r");
  await header.datasync();
}

/** @throws StillpointError QEMU_FAILED */
function refuseOtherGraph(manifest: Manifest, disk: string, inUse: readonly string[]): void {
  const chain = chainOf(manifest, manifest.disks[disk]?.now ?? "").toReversed();
  if (inUse.length === chain.length && inUse.every((layer, depth) => layer === chain[depth])) return;
  throw new StillpointError("QEMU_FAILED", `disk ${disk} has other layers open than its manifest names`);
}
