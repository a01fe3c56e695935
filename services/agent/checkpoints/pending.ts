import { rm } from "node:fs/promises";
import { join } from "node:path";
import { StillpointError } from "#libs/errors";
import type { AgentParts } from "../actions/agent-parts.ts";
import { newLayerId } from "../actions/create-vm.ts";
import { layerFile } from "../machine-spec.ts";
import type { PendingTake } from "../manifest.ts";
import type { StepContext } from "../steps/step-runner.ts";
import type { Workload } from "../workload.ts";
import { queueMerges } from "./merge.ts";

export interface TakeRequest {
  readonly checkpointUid: string;
  /** The agent will stop the VM for a moment. */
  readonly ownStop: boolean;
  /** Ids of disks that go on in the layer that they have. */
  readonly excludeDisks?: readonly string[];
}

/**
 * Makes the layers that now will go on in, written down first, and opens them in the machine when there is one. When
 * one of them cannot be made, none is left.
 */
export async function prepareTake(
  parts: AgentParts,
  { operation }: StepContext,
  workload: Workload,
  { checkpointUid, ownStop, excludeDisks = [] }: TakeRequest,
): Promise<PendingTake> {
  await rollBackPending(parts, workload);
  const disks = includedDisks(workload, excludeDisks);
  const layers = Object.fromEntries(disks.map((disk) => [disk, newLayerId(parts)]));
  const pending: PendingTake = { operation, checkpoint: checkpointUid, layers, ownStop };
  await workload.save((manifest) => ({ ...manifest, pending }));
  // All are waited for, so that none is made after it was taken back.
  const made = await Promise.allSettled(
    Object.entries(layers).map(([disk, id]) => makeLayer(parts, workload, disk, id)),
  );
  const failure = made.find((outcome) => outcome.status === "rejected");
  if (failure === undefined) return pending;
  await rollBackPending(parts, workload);
  throw failure.reason;
}

async function makeLayer(parts: AgentParts, workload: Workload, disk: string, id: string): Promise<void> {
  const { now = "", sizeBytes = 0 } = workload.manifest.disks[disk] ?? {};
  const layer = layerFile(workload, disk, id);
  const below = layerFile(workload, disk, now);
  await parts.disks.create({ path: layer.path, below, sizeBytes, processUid: workload.manifest.processUid });
  await workload.machine?.layers.prepare(layer);
}

/** @throws StillpointError ARGUMENT_INVALID for a disk that there is not, and for the root disk */
function includedDisks({ definition, manifest }: Workload, excluded: readonly string[]): string[] {
  const disks = Object.keys(manifest.disks);
  const wrong = excluded.find((disk) => disk === "root" || !disks.includes(disk));
  if (wrong === undefined) return disks.filter((disk) => !excluded.includes(disk));
  const why = wrong === "root" ? "the root disk cannot be left out" : `it has no disk ${wrong}`;
  throw new StillpointError("ARGUMENT_INVALID", `a checkpoint of ${definition.name}: ${why}`);
}

/** From the current layer of each disk to the prepared one. */
export function switches({ manifest }: Workload, { layers }: PendingTake): { from: string; to: string }[] {
  return Object.entries(layers).map(([disk, to]) => ({ from: manifest.disks[disk]?.now ?? "", to }));
}

/**
 * Undoes a checkpoint that was not finished. Whether its layers came into use is asked of the block graph; without a
 * machine they may hold what a guest wrote before it went off, so they are written down in any case.
 */
export async function rollBackPending(parts: AgentParts, workload: Workload): Promise<void> {
  await workload.held?.thaw();
  workload.held = undefined;
  const { pending } = workload.manifest;
  if (pending === null) return;
  for (const [disk, layer] of Object.entries(pending.layers)) await withdraw(parts, workload, disk, layer);
  await workload.save((manifest) => ({ ...manifest, pending: null }));
  for (const folder of [
    unfinishedFolder(workload, pending.checkpoint),
    workload.folder.checkpoint(pending.checkpoint),
  ]) {
    await rm(folder, { recursive: true, force: true });
  }
  queueMerges(parts, workload);
}

/** Where a checkpoint's RAM and manifest are gathered until they are complete. */
export function unfinishedFolder({ folder }: Workload, checkpointUid: string): string {
  return join(folder.checkpoints, `.tmp-${checkpointUid}`);
}

async function withdraw(parts: AgentParts, { machine, manifest, folder }: Workload, disk: string, layer: string) {
  const path = folder.layer(disk, layer);
  const now = manifest.disks[disk]?.now ?? "";
  if (machine === undefined) {
    const isThere = await parts.disks.usedBytes(path).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return false;
        throw error; // what the guest wrote may be in it
      },
    );
    if (isThere) await parts.disks.commit(path, folder.layer(disk, now));
  } else {
    const inUse = (await machine.layers.inUse()).get(disk);
    if (inUse?.[0] === layer) await machine.layers.commitTop(disk, layer, now);
    else await machine.layers.drop([layer]);
  }
  await parts.disks.remove(path);
}
