import { rm } from "node:fs/promises";
import type { DiscardCheckpoint, MergeCheckpoint } from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import { failpoint } from "#libs/failpoints";
import type { AgentParts } from "../actions/agent-parts.ts";
import { below } from "../machine-spec.ts";
import type { StepContext } from "../steps/step-runner.ts";
import type { Workload } from "../workload.ts";
import { forgetDigests, queueDigests } from "./digests.ts";
import {
  type Child,
  checkpointOf,
  childrenOf,
  layersOf,
  onlyChildOf,
  withMerged,
  withoutCheckpoint,
  withUntaken,
} from "./layer-tree.ts";
import { rollBackPending, sweepFiles } from "./pending.ts";

/**
 * Removes a checkpoint by merging each of its layers into the one that stands on it, in the machine where it is in
 * use. A merge that is cut off goes on where it was: the manifest names what is merged, the files say the rest.
 */
export async function mergeCheckpoint(
  parts: AgentParts,
  context: StepContext,
  workload: Workload,
  { checkpointUid }: MergeCheckpoint,
): Promise<void> {
  if (workload.manifest.checkpoints[checkpointUid] !== undefined) {
    const child = onlyChildOf(workload.manifest, checkpointUid);
    if (child !== undefined) await mergeInto(parts, context, workload, { checkpointUid, child });
    await workload.save((manifest) => withoutCheckpoint(manifest, checkpointUid));
    if (child !== undefined && "checkpoint" in child) queueDigests(parts, workload, child.checkpoint);
  }
  await rm(workload.folder.checkpoint(checkpointUid), { recursive: true, force: true });
  await sweepFiles(parts, workload);
}

/** Takes a checkpoint back: when now alone stands on it, its layers are written to again. */
export async function discardCheckpoint(
  parts: AgentParts,
  context: StepContext,
  workload: Workload,
  { checkpointUid }: DiscardCheckpoint,
): Promise<void> {
  const { manifest } = workload;
  const entry = manifest.checkpoints[checkpointUid];
  if (entry !== undefined && !isNewest(childrenOf(manifest, checkpointUid))) {
    return await mergeCheckpoint(parts, context, workload, { checkpointUid });
  }
  for (const [disk, layer] of Object.entries(entry?.layers ?? {})) {
    await parts.disks.unseal(workload.folder.layer(disk, layer));
  }
  if (entry !== undefined) await workload.save((current) => withUntaken(current, checkpointUid, context.operation));
  await rollBackPending(parts, workload);
  await sweepFiles(parts, workload);
}

function isNewest([child, ...others]: Child[]): boolean {
  return others.length === 0 && child !== undefined && "now" in child;
}

async function mergeInto(
  parts: AgentParts,
  context: StepContext,
  workload: Workload,
  { checkpointUid, child }: { readonly checkpointUid: string; readonly child: Child },
): Promise<void> {
  for (const [disk, layer] of Object.entries(checkpointOf(workload.manifest, checkpointUid).layers)) {
    if (workload.manifest.layers[layer] === undefined) continue; // merged before this step was cut off
    const into = layersOf(workload.manifest, child)[disk] ?? "";
    await refuseFullDisk(parts, workload, disk, layer);
    const path = workload.folder.layer(disk, into);
    if ("checkpoint" in child) await forgetDigests(workload, child.checkpoint);
    await parts.disks.unseal(path);
    await pullUp(parts, context, workload, { disk, layer, into });
    await failpoint("agent.merge-checkpoint.merged");
    await workload.save((manifest) => withMerged(manifest, layer, into));
    if ("checkpoint" in child) await parts.disks.seal(path);
  }
}

interface LayerMerge {
  readonly disk: string;
  readonly layer: string;
  readonly into: string;
}

async function pullUp(
  parts: AgentParts,
  { signal, progress }: StepContext,
  workload: Workload,
  { disk, layer, into }: LayerMerge,
): Promise<void> {
  const { machine, folder } = workload;
  const base = await below(workload, parts.images, layer);
  const inUse = (await machine?.layers.inUse())?.get(disk);
  if (machine === undefined || inUse?.includes(into) !== true) {
    return await parts.disks.pullUp(folder.layer(disk, into), base, signal);
  }
  await machine.layers.pullUp(into, base ?? null, {
    signal,
    progress: (bytesDone, bytesTotal) => progress({ bytesDone, bytesTotal, message: `merging ${disk}` }),
  });
}

async function refuseFullDisk({ disks }: AgentParts, { folder }: Workload, disk: string, layer: string): Promise<void> {
  const [neededBytes, freeBytes] = await Promise.all([disks.usedBytes(folder.layer(disk, layer)), disks.freeBytes()]);
  if (freeBytes >= neededBytes) return;
  const message = `merging ${disk} may take ${neededBytes} bytes; ${freeBytes} are free`;
  throw new StillpointError("SPACE_INSUFFICIENT", message);
}
