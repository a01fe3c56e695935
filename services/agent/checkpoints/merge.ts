import { isStillpointError } from "#libs/errors";
import { failpoint } from "#libs/failpoints";
import type { AgentParts } from "../actions/agent-parts.ts";
import { below, chainFiles, layerFile } from "../machine-spec.ts";
import type { Machine, MergeControl } from "../ports.ts";
import type { MergeProgress, Workload } from "../workload.ts";
import { forgetDigest, queueDigests } from "./digests.ts";
import { changedByDown, type LayerMerge, possibleMerges, withMerged, withMergedDown } from "./layer-graph.ts";
import { bytesDown, finishMergesDown, pushDown, refuseHalfDown } from "./merge-down.ts";
import { RESERVE_BYTES } from "./space.ts";
import { sweepFiles } from "./sweep-files.ts";

/** After its connection a machine's process ends within this time. */
const MACHINE_END_MS = 5_000;

/**
 * Merges the layers that no checkpoint names, when nothing else is to be done on the workload. A merge that was cut
 * off anywhere goes on where it was: what is to be merged is seen in the manifest, and what is copied in the files.
 */
export function queueMerges(parts: AgentParts, workload: Workload): void {
  if (possibleMerges(workload.manifest).length === 0) parts.storage.changed(workload);
  else parts.merges.add(workload.uid, "the merge of layers", () => (signal) => mergeNext(parts, workload, signal));
}

/** One run of layers. Gives true when there is none that can be merged now, or a checkpoint is half taken. */
async function mergeNext(parts: AgentParts, workload: Workload, signal: AbortSignal): Promise<boolean> {
  if (workload.manifest.pending !== null) return true;
  if (await finishMergesDown(parts, workload)) await sweep(parts, workload);
  const { merge, isDown, bytes, waitsFor } = await choose(parts, workload);
  workload.merging = { doneBytes: 0, totalBytes: bytes, waitsFor };
  let why: MergeProgress["waitsFor"] = waitsFor;
  try {
    if (merge !== undefined) why = await attempt(parts, workload, { merge, isDown }, signal);
  } finally {
    workload.merging = { doneBytes: 0, totalBytes: 0, waitsFor: why };
    parts.storage.changed(workload);
  }
  return merge === undefined || why !== "";
}

/** Gives what the merge waits for; empty when it is done, or is to be tried again as its machine has gone. */
async function attempt(
  parts: AgentParts,
  workload: Workload,
  planned: Planned,
  signal: AbortSignal,
): Promise<Choice["waitsFor"]> {
  const { machine } = workload;
  try {
    await mergeRun(parts, workload, planned, signal);
    return "";
  } catch (error) {
    if (isStillpointError(error, "SPACE_INSUFFICIENT")) return "space.insufficient";
    if (signal.aborted || machine === undefined || !(await endsSoon(parts, machine))) throw error;
    await sweep(parts, workload); // its end may have come after the switch
    return "";
  }
}

async function endsSoon({ clock }: AgentParts, machine: Machine): Promise<boolean> {
  const wait = new AbortController();
  const tooLong = clock.sleep(MACHINE_END_MS, wait.signal).then(() => false);
  tooLong.catch(() => undefined);
  try {
    return await Promise.race([machine.ended.then(() => true), tooLong]);
  } finally {
    wait.abort();
  }
}

async function sweep(parts: AgentParts, workload: Workload): Promise<void> {
  using _digests = await parts.background.hold(workload.uid);
  await sweepFiles(parts, workload);
}

interface Planned {
  readonly merge: LayerMerge;
  readonly isDown: boolean;
}

interface Choice {
  readonly merge?: LayerMerge;
  readonly isDown: boolean;
  /** What the layers to be copied take on the host: no more than that is copied. */
  readonly bytes: number;
  readonly waitsFor: "" | "space.insufficient" | "clone.linked";
}

async function choose(parts: AgentParts, workload: Workload): Promise<Choice> {
  const { disks } = parts;
  const { manifest, folder } = workload;
  let waitsFor: Choice["waitsFor"] = "";
  for (const merge of possibleMerges(manifest)) {
    const down = await bytesDown(parts, workload, merge);
    const used = await Promise.all(merge.run.map((layer) => disks.usedBytes(folder.layer(merge.disk, layer))));
    const bytes = down ?? used.reduce((sum, one) => sum + one, 0);
    const isDown = down !== undefined;
    if (!isDown && (await disks.isShared(folder.layer(merge.disk, merge.into)))) waitsFor = "clone.linked";
    else if ((await disks.freeBytes()) < bytes + RESERVE_BYTES) waitsFor = "space.insufficient";
    else return { merge, isDown, bytes, waitsFor: "" };
  }
  return { isDown: false, bytes: 0, waitsFor };
}

/** The digests of what is written to rest meanwhile, and are computed anew. */
async function mergeRun(
  parts: AgentParts,
  workload: Workload,
  { merge, isDown }: Planned,
  signal: AbortSignal,
): Promise<void> {
  const { disk, into } = merge;
  const control = { signal, bytesPerSecond: parts.mergeBytesPerSecond, progress: progressOf(workload) };
  const changed = (isDown ? changedByDown(workload.manifest, merge) : undefined) ?? [into];
  if (!isDown) await refuseHalfDown(parts, workload, merge);
  {
    using _digests = await parts.background.hold(workload.uid);
    await unsealed(parts, workload, disk, changed, async () => {
      await failpoint("agent.merge.begun");
      await (isDown ? pushDown : pullUp)(parts, workload, merge, control);
      await failpoint("agent.merge.merged");
      await workload.save((manifest) => (isDown ? withMergedDown : withMerged)(manifest, merge));
    });
    await failpoint("agent.merge.saved");
    await sweepFiles(parts, workload);
  }
  for (const [uid, { layers }] of Object.entries(workload.manifest.checkpoints)) {
    if (changed.includes(layers[disk] ?? "")) queueDigests(parts, workload, uid);
  }
}

/** Layers may be written to meanwhile; then they are sealed, but what the VM writes to. */
async function unsealed(
  { disks }: AgentParts,
  workload: Workload,
  disk: string,
  layers: readonly string[],
  work: () => Promise<void>,
): Promise<void> {
  const pathOf = (layer: string) => workload.folder.layer(disk, layer);
  try {
    for (const layer of layers) {
      await forgetDigest(pathOf(layer));
      await disks.unseal(pathOf(layer), workload.manifest.processUid);
    }
    await work();
  } finally {
    for (const layer of layers) {
      if (workload.manifest.disks[disk]?.now !== layer) await disks.seal(pathOf(layer));
    }
  }
}

async function pullUp(parts: AgentParts, workload: Workload, merge: LayerMerge, control: MergeControl): Promise<void> {
  const { machine, folder, manifest } = workload;
  const { disk, run, into } = merge;
  const base = (await below(workload, parts.images, run[0] ?? into)) ?? null;
  const inUse = (await machine?.layers.inUse())?.get(disk);
  if (machine !== undefined && inUse?.includes(into) === true) {
    return await machine.layers.pullUp(layerFile(workload, disk, into), base, control);
  }
  const chain = await chainFiles(workload, parts.images, into);
  await parts.disks.pullUp({ root: folder.root, processUid: manifest.processUid, chain, base }, control);
}

/** QEMU tells how much of the disk it has looked at; what there is to copy is taken to be spread evenly. */
function progressOf(workload: Workload): MergeControl["progress"] {
  return async (done, total) => {
    const { totalBytes } = workload.merging;
    workload.merging = { ...workload.merging, doneBytes: total === 0 ? 0 : Math.round((totalBytes * done) / total) };
    if (done > 0 && done < total) await failpoint("agent.merge.copying");
  };
}
