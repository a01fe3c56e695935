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

/** One run of layers of each disk. Gives true when none can be merged now, or a checkpoint is half taken. */
async function mergeNext(parts: AgentParts, workload: Workload, signal: AbortSignal): Promise<boolean> {
  if (workload.manifest.pending !== null) return true;
  if (await finishMergesDown(parts, workload)) await sweep(parts, workload);
  const { planned, waitsFor } = await choose(parts, workload);
  workload.merging = { doneBytes: 0, totalBytes: bytesOf(planned), waitsFor };
  let why: MergeProgress["waitsFor"] = waitsFor;
  try {
    if (planned.length > 0) why = await attempt(parts, workload, planned, signal);
  } catch (error) {
    if (!signal.aborted) why = "merge.failed"; // and is tried again soon
    throw error;
  } finally {
    workload.merging = { doneBytes: 0, totalBytes: 0, waitsFor: why };
    parts.storage.changed(workload);
  }
  return planned.length === 0 || why !== "";
}

/** Gives what the merges wait for; empty when they are done, or are to be tried again as their machine has gone. */
async function attempt(
  parts: AgentParts,
  workload: Workload,
  planned: readonly Planned[],
  signal: AbortSignal,
): Promise<Choice["waitsFor"]> {
  const { machine } = workload;
  const ended = await mergeRuns(parts, workload, planned, signal);
  const failures = ended.flatMap((it) => (it.status === "rejected" ? [it.reason as Error] : []));
  const worst = failures.find((it) => !isStillpointError(it, "SPACE_INSUFFICIENT"));
  if (worst === undefined) return failures.length === 0 ? "" : "space.insufficient";
  if (signal.aborted || machine === undefined || !(await endsSoon(parts, machine))) throw worst;
  await sweep(parts, workload); // its end may have come after the switch
  return "";
}

/** The disks are merged side by side; digests of what is written to rest meanwhile, and are computed anew. */
async function mergeRuns(parts: AgentParts, workload: Workload, planned: readonly Planned[], signal: AbortSignal) {
  using _digests = await parts.background.hold(workload.uid);
  const ended = await Promise.allSettled(planned.map((one) => mergeRun(parts, workload, one, signal)));
  // Once all have ended: before, a machine may still have to let go of what its manifest has given up.
  if (ended.some(({ status }) => status === "fulfilled")) await sweepFiles(parts, workload);
  const changed = ended.flatMap((it) => (it.status === "fulfilled" ? it.value : []));
  for (const [uid, { layers }] of Object.entries(workload.manifest.checkpoints)) {
    if (Object.values(layers).some((layer) => changed.includes(layer))) queueDigests(parts, workload, uid);
  }
  return ended;
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
  /** What the layers to be copied take on the host: no more than that is copied. */
  readonly bytes: number;
}

interface Choice {
  /** At most one of each disk; one in all where merges are throttled. */
  readonly planned: readonly Planned[];
  readonly waitsFor: "" | "space.insufficient" | "clone.linked";
}

const bytesOf = (planned: readonly Planned[]) => planned.reduce((sum, { bytes }) => sum + bytes, 0);

async function choose(parts: AgentParts, workload: Workload): Promise<Choice> {
  const planned: Planned[] = [];
  let waitsFor: Choice["waitsFor"] = "";
  for (const merge of possibleMerges(workload.manifest)) {
    if (planned.some((it) => it.merge.disk === merge.disk)) continue;
    const next = await plan(parts, workload, merge);
    const why = await whyNot(parts, workload, [...planned, next]);
    if (why === "") planned.push(next);
    else waitsFor = why;
    if (planned.length > 0 && parts.mergeBytesPerSecond > 0) break;
  }
  return { planned, waitsFor: planned.length > 0 ? "" : waitsFor };
}

async function plan(parts: AgentParts, workload: Workload, merge: LayerMerge): Promise<Planned> {
  const down = await bytesDown(parts, workload, merge);
  if (down !== undefined) return { merge, isDown: true, bytes: down };
  const files = merge.run.map((layer) => workload.folder.layer(merge.disk, layer));
  const used = await Promise.all(files.map((path) => parts.disks.usedBytes(path)));
  return { merge, isDown: false, bytes: used.reduce((sum, one) => sum + one, 0) };
}

/** What the last of them waits for. */
async function whyNot({ disks }: AgentParts, { folder }: Workload, planned: readonly Planned[]) {
  const last = planned.at(-1);
  if (last?.isDown === false) {
    const { disk, into } = last.merge;
    if (await disks.isShared(folder.layer(disk, into))) return "clone.linked";
  }
  return (await disks.freeBytes()) < bytesOf(planned) + RESERVE_BYTES ? "space.insufficient" : "";
}

/** Gives the layers whose files have other bytes now. */
async function mergeRun(
  parts: AgentParts,
  workload: Workload,
  { merge, isDown, bytes }: Planned,
  signal: AbortSignal,
): Promise<string[]> {
  const { clock, logger } = parts;
  const { disk, into } = merge;
  const beganMs = clock.monotonicMs();
  const control = { signal, bytesPerSecond: parts.mergeBytesPerSecond, progress: progressOf(workload, bytes) };
  const changed = (isDown ? changedByDown(workload.manifest, merge) : undefined) ?? [into];
  if (!isDown) await refuseHalfDown(parts, workload, merge);
  await unsealed(parts, workload, disk, changed, async () => {
    await failpoint("agent.merge.begun");
    await (isDown ? pushDown : pullUp)(parts, workload, merge, control);
    await failpoint("agent.merge.merged");
    await workload.save((manifest) => (isDown ? withMergedDown : withMerged)(manifest, merge));
    const ms = clock.monotonicMs() - beganMs;
    logger.info({ uid: workload.uid, disk, direction: isDown ? "down" : "up", bytes, ms }, "merged layers");
  });
  await failpoint("agent.merge.saved");
  return changed;
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
function progressOf(workload: Workload, bytes: number): MergeControl["progress"] {
  let told = 0;
  return async (done, total) => {
    const doneBytes = total === 0 ? 0 : Math.round((bytes * done) / total);
    workload.merging = { ...workload.merging, doneBytes: workload.merging.doneBytes + doneBytes - told };
    told = doneBytes;
    if (done > 0 && done < total) await failpoint("agent.merge.copying");
  };
}
