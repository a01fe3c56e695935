import type { AgentParts } from "./actions/agent-parts.ts";
import { endMachine } from "./actions/power.ts";
import { queueMissingDigests } from "./checkpoints/digests.ts";
import { nowLayers } from "./checkpoints/layer-tree.ts";
import { queueMerges } from "./checkpoints/merge.ts";
import { finishMergesDown } from "./checkpoints/merge-down.ts";
import { rollBackPending } from "./checkpoints/pending.ts";
import { sweepFiles } from "./checkpoints/sweep-files.ts";
import type { Machine } from "./ports.ts";
import { watchStarvation } from "./starved.ts";
import type { Workload } from "./workload.ts";

const TRIES = 3;
/** Together longer than the longest freeze: one that strikes late keeps the guest's agent busy until its hooks end. */
const TRIES_ON_RESUME = 25;
const STATUS_MS = 5_000;

/**
 * Takes over what runs since before this agent, before any new work: machines are found and met, guests thawed,
 * half-taken checkpoints rolled back, files that no manifest names removed. Not waited for is one that stands still for
 * want of a lease, which answers nothing: it is met when it goes on.
 */
export async function adoptAll(parts: AgentParts): Promise<void> {
  await Promise.all(
    parts.workloads.list().map((workload) => {
      workload.adopted = adopt(parts, workload).catch((error: unknown) => {
        parts.logger.error({ err: error, uid: workload.uid }, "the workload could not be adopted");
      });
      return Promise.race([workload.adopted, workload.everHeld]);
    }),
  );
}

async function adopt(parts: AgentParts, workload: Workload): Promise<void> {
  await workload.leaseHold?.over;
  const { uid, folder, manifest } = workload;
  const machine = await parts.hypervisor.adopt({ uid, root: folder.root, fenced: manifest.fenced === true });
  if (manifest.leftBehind !== undefined) return await machine?.end();
  if (machine === undefined) await workload.noteMissing();
  else await meet(parts, workload, machine);
  await finishMergesDown(parts, workload);
  await rollBackPending(parts, workload);
  await sweepFiles(parts, workload);
  await sealLayers(parts, workload);
  await queueMissingDigests(parts, workload);
  queueMerges(parts, workload);
}

/** A merge that was cut off leaves the layer that it wrote to open. */
async function sealLayers({ disks }: AgentParts, { manifest, folder }: Workload): Promise<void> {
  const now = new Set(Object.values(nowLayers(manifest)));
  for (const [layer, { disk }] of Object.entries(manifest.layers)) {
    if (!now.has(layer)) await disks.seal(folder.layer(disk, layer));
  }
}

async function meet(parts: AgentParts, workload: Workload, machine: Machine): Promise<void> {
  await workload.attach(machine);
  await machine.layers.settle(Object.values(nowLayers(workload.manifest)));
  await workload.save((manifest) => ({ ...manifest, power: "on" }));
  parts.logger.info({ uid: workload.uid, qemuPid: machine.pid }, "adopted a running VM");
  const state = await machine.state();
  if (state === "shutdown") {
    await machine.endAfterShutdown();
    await machine.ended;
  } else if (state === "incoming") {
    await endMachine(workload, machine); // its RAM never came whole: the step that loads it begins again
  } else {
    if (state !== "running" && workload.manifest.pending?.ownStop === true) await machine.resume();
    await thawIfFrozen(parts, workload, machine);
    if (state !== "running") thawOnResume(parts, workload, machine);
    watchStarvation(parts, workload, machine);
  }
}

/**
 * A guest that stands cannot be asked: it may have been frozen before, or have a freeze on its way that an earlier agent
 * sent and that strikes when it goes on (QEMU 7.2 drops it with that agent's connection). It is thawed then.
 */
function thawOnResume(parts: AgentParts, workload: Workload, machine: Machine): void {
  let isDone = false;
  machine.onResume(() => {
    if (isDone) return;
    isDone = true;
    thawIfFrozen(parts, workload, machine, TRIES_ON_RESUME).catch((error: unknown) => {
      parts.logger.error({ err: error, uid: workload.uid }, "the guest may be frozen");
    });
  });
}

/** No lease outlives an agent: a guest that is frozen now has been forgotten. */
async function thawIfFrozen(parts: AgentParts, workload: Workload, machine: Machine, most = TRIES): Promise<void> {
  if ((await machine.state()) !== "running" || !(await machine.guestIsListening())) return;
  for (let tries = most; tries > 0 && workload.machine === machine; tries--) {
    try {
      if ((await machine.guest.call("guest-fsfreeze-status", undefined, STATUS_MS)) !== "frozen") return;
      await machine.guest.call("guest-fsfreeze-thaw", undefined, STATUS_MS);
      return workload.observe({ foundFrozen: true });
    } catch (error) {
      parts.logger.warn({ err: error, uid: workload.uid }, "the guest does not say whether it is frozen");
    }
  }
}
