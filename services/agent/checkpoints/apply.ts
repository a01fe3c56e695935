import { join } from "node:path";
import type { ApplyCheckpoint } from "#contracts/host/v1/agent";
import { WorkloadState } from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import { failpoint } from "#libs/failpoints";
import type { AgentParts } from "../actions/agent-parts.ts";
import { newLayerId } from "../actions/create-vm.ts";
import { endMachine, switchOn } from "../actions/power.ts";
import { layerFile, machineSpec } from "../machine-spec.ts";
import type { CheckpointEntry, MachineFacts } from "../manifest.ts";
import type { Machine } from "../ports.ts";
import type { Workload } from "../workload.ts";
import { machineFacts } from "./commit-take.ts";
import { refuseDamaged } from "./digests.ts";
import { checkpointOf, withApplied } from "./layer-tree.ts";
import { queueMerges } from "./merge.ts";
import { rollBackPending } from "./pending.ts";
import { RAM_FILE, sendRam } from "./ram-file.ts";
import { sweepFiles } from "./sweep-files.ts";

const THAW_MS = 5_000;
const SOCKET = "run/incoming.sock";

/**
 * Puts a VM back to a checkpoint. All that can be checked is checked before the machine is ended. The layers that
 * now had are removed only when the checkpoint is applied; until then a failure goes back to them, with the VM off.
 */
export async function applyCheckpoint(
  parts: AgentParts,
  workload: Workload,
  { checkpointUid, generationId, leaveOff = false }: ApplyCheckpoint,
): Promise<void> {
  const { checkpoint, loadsRam } = await checkApply(parts, workload, { checkpointUid, leaveOff });
  if (workload.machine !== undefined) await endMachine(workload, workload.machine);
  await rollBackPending(parts, workload);
  const before = workload.manifest;
  await putOn(parts, workload, checkpointUid, generationId);
  try {
    await failpoint("agent.apply-checkpoint.switched");
    if (loadsRam) await resumeInstant(parts, workload, checkpointUid, checkpoint.paused === true);
  } catch (cause) {
    if (workload.machine !== undefined) await endMachine(workload, workload.machine);
    await workload.save(() => ({ ...before, power: "off" }));
    await sweepFiles(parts, workload);
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new StillpointError("CHECKPOINT_DAMAGED", `the RAM of checkpoint ${checkpointUid} is not loaded: ${why}`, {
      cause,
      help: "The VM is off and as it was before, without its RAM; qemu.log in its folder on the host has more.",
    });
  }
  await sweepFiles(parts, workload);
  queueMerges(parts, workload);
}

/** Fails with CHECKPOINT_DAMAGED or CAPABILITY_MISSING when it cannot be applied here; changes nothing. */
export async function checkApply(
  parts: AgentParts,
  workload: Workload,
  { checkpointUid, leaveOff = false }: Pick<ApplyCheckpoint, "checkpointUid" | "leaveOff">,
): Promise<{ readonly checkpoint: CheckpointEntry; readonly loadsRam: boolean }> {
  const checkpoint = checkpointOf(workload.manifest, checkpointUid);
  const loadsRam = checkpoint.kind === "standard" && !leaveOff;
  if (loadsRam) refuseOtherMachine(checkpoint, machineFacts(parts, workload));
  await refuseDamaged(parts, workload, checkpointUid);
  return { checkpoint, loadsRam };
}

/** New layers on the checkpoint's, named by the manifest before now is switched to them. Other disks stay as they are. */
async function putOn(parts: AgentParts, workload: Workload, checkpointUid: string, generationId: string) {
  const checkpoint = checkpointOf(workload.manifest, checkpointUid);
  const { disks, processUid } = workload.manifest;
  const layers: Record<string, string> = {};
  for (const [disk, top] of Object.entries(checkpoint.layers)) {
    const { sizeBytes } = disks[disk] ?? { sizeBytes: 0 };
    const layer = newLayerId(parts);
    const below = layerFile(workload, disk, top);
    await parts.disks.create({ path: workload.folder.layer(disk, layer), below, sizeBytes, processUid });
    layers[disk] = layer;
  }
  await workload.save((manifest) => ({ ...withApplied(manifest, checkpointUid, layers), generationId }));
}

/** Loads the RAM into a new machine and lets it go on, not frozen; one that its user had paused stands still again. */
async function resumeInstant(
  parts: AgentParts,
  workload: Workload,
  checkpointUid: string,
  paused: boolean,
): Promise<void> {
  const spec = await machineSpec(workload, parts.images);
  const machine = await switchOn(parts, workload, spec, { incoming: true });
  const file = join(workload.folder.checkpoint(checkpointUid), RAM_FILE);
  await machine.memory.load(SOCKET, (socket) => sendRam(file, join(workload.folder.root, socket)));
  const reason = `checkpoint ${checkpointUid} applied`;
  if (paused) {
    await machine.pause();
    workload.observe({ state: WorkloadState.PAUSED, reason });
    return;
  }
  if ((await machine.state()) !== "running") await machine.resume();
  await thawRestored(machine);
  workload.observe({ state: WorkloadState.RUNNING, reason });
}

/** A guest that was frozen when its RAM was taken comes back frozen. */
async function thawRestored(machine: Machine): Promise<void> {
  if (!(await machine.guestIsListening())) return;
  const status = await machine.guest.call<string>("guest-fsfreeze-status", undefined, THAW_MS).catch(() => "unknown");
  if (status === "frozen") await machine.guest.call("guest-fsfreeze-thaw", undefined, THAW_MS);
}

/** RAM fits only into a machine of the same make. */
function refuseOtherMachine({ machine }: CheckpointEntry, here: MachineFacts): void {
  const different = (Object.keys(here) as (keyof MachineFacts)[]).filter(
    (fact) => JSON.stringify(machine[fact]) !== JSON.stringify(here[fact]),
  );
  if (different.length === 0) return;
  const told = different.map((fact) => `${fact} was ${String(machine[fact])} and is ${String(here[fact])}`);
  throw new StillpointError("CAPABILITY_MISSING", `the RAM does not fit this machine: ${told.join("; ")}`, {
    help: "Apply it on a host like the one it was taken on.",
  });
}
