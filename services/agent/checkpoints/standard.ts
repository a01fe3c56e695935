import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { CheckpointOutcome, TakeStandard } from "#contracts/host/v1/agent";
import { isStillpointError, StillpointError } from "#libs/errors";
import { failpoint } from "#libs/failpoints";
import type { AgentParts } from "../actions/agent-parts.ts";
import type { Machine, SavedMemory } from "../ports.ts";
import type { StepContext } from "../steps/step-runner.ts";
import type { Workload } from "../workload.ts";
import { commitTake, storedOutcome } from "./commit-take.ts";
import { prepareTake, rollBackPending, switches, unfinishedFolder } from "./pending.ts";
import { RAM_FILE, RamReceiver } from "./ram-file.ts";
import { refuseShortage } from "./space.ts";

const THAW_MS = 5_000;
/** A guest whose hook is slow to let go answers the thaw late: worth waiting for. */
const OWED_THAW_MS = 20_000;
/** Seen from the workload's folder, in which QEMU works. */
const SOCKET = "run/ram.sock";

/** Disks and RAM at one instant; the guest stands for milliseconds and its RAM is written while it runs on. */
export async function takeStandard(
  parts: AgentParts,
  context: StepContext,
  workload: Workload,
  { checkpointUid }: TakeStandard,
): Promise<CheckpointOutcome> {
  const stored = await storedOutcome(workload, checkpointUid);
  if (stored !== undefined) return stored;
  const machine = workload.runningMachine("a standard checkpoint");
  await refuseShortage(parts, workload, workload.definition.memoryBytes);
  await refuseBlocked(workload, machine);
  await refuseFrozen(parts, workload, machine);
  const wasRunning = (await machine.state()) === "running";
  const pending = await prepareTake(parts, context, workload, { checkpointUid, ownStop: wasRunning });
  try {
    const overlay = switches(workload, pending);
    const { saved, ramBytes } = await saveRam(workload, machine, checkpointUid, async () => {
      await failpoint("agent.take-standard.stopped");
      await machine.layers.switchOver(overlay);
      await failpoint("agent.take-standard.switched");
    });
    const taken = {
      checkpointUid,
      kind: "standard",
      evidence: evidenceOf(saved),
      ramBytes,
      paused: !wasRunning,
    } as const;
    return await commitTake(parts, workload, taken);
  } catch (cause) {
    await rollBackPending(parts, workload);
    if (isStillpointError(cause)) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new StillpointError("STANDARD_FAILED", `the RAM of ${workload.definition.name} was not saved: ${why}`, {
      cause,
    });
  }
}

/** Before anything stops: a device whose state QEMU cannot save, and a VM that goes on by itself as soon as it can. */
async function refuseBlocked({ definition: { name } }: Workload, machine: Machine): Promise<void> {
  if (await machine.isStarved()) {
    const metadata = { reason: "space.insufficient" };
    throw new StillpointError("SPACE_INSUFFICIENT", `${name} stands still: the host's disk is full`, { metadata });
  }
  const { blocked } = await machine.memory.obstacles();
  if (blocked.length === 0) return;
  throw new StillpointError("STANDARD_FAILED", `the RAM of ${name} cannot be saved: ${blocked.join("; ")}`, {
    metadata: { reason: "ram.blocked_device" },
    help: "Remove the device that the message names; production checkpoints need no RAM.",
  });
}

async function saveRam(workload: Workload, machine: Machine, checkpointUid: string, freezeDisks: () => Promise<void>) {
  const folder = unfinishedFolder(workload, checkpointUid);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const socket = join(workload.folder.root, SOCKET);
  await using receiver = await RamReceiver.listen(socket, join(folder, RAM_FILE), workload.manifest.processUid);
  const saved = await machine.memory.save(SOCKET, freezeDisks);
  return { saved, ramBytes: await receiver.received };
}

/** RAM that is taken from a frozen guest comes back frozen. Nobody else may hold a freeze here, so it is thawed. */
async function refuseFrozen({ clock }: AgentParts, workload: Workload, machine: Machine): Promise<void> {
  const patience = new AbortController();
  const tooLong = clock.sleep(OWED_THAW_MS, patience.signal).catch(() => undefined);
  await Promise.race([workload.thawsAnswered(), tooLong]);
  patience.abort();
  if (workload.owesThaw) {
    const message = `${workload.definition.name} may be frozen: it has not answered a thaw yet`;
    throw new StillpointError("STANDARD_FAILED", message, { help: "Look at the guest agent in the guest." });
  }
  if ((await machine.state()) !== "running" || !(await machine.guestIsListening())) return;
  try {
    const status = await machine.guest.call<string>("guest-fsfreeze-status", undefined, THAW_MS);
    if (status === "frozen") await machine.guest.call("guest-fsfreeze-thaw", undefined, THAW_MS);
  } catch {
    // An agent that does not answer holds no freeze of ours: each of ours ends with a thaw that was answered.
  }
}

function evidenceOf({ method, pauseMs, ranMs, times }: SavedMemory) {
  const timeline = Object.entries(times).map(([event, atMs]) => ({ event, time: new Date(atMs).toISOString() }));
  const ran = ranMs > 0 ? { ranMs: Math.round(ranMs * 10) / 10 } : {};
  return { pauseMs: Math.round(pauseMs * 10) / 10, ...ran, ramMethod: method, timeline };
}
