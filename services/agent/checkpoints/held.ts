import type { CheckpointOutcome, HoldFrozen, TakeHeld, ThawHeld } from "#contracts/host/v1/agent";
import type { AgentParts } from "../actions/agent-parts.ts";
import type { StepContext } from "../steps/step-runner.ts";
import type { Workload } from "../workload.ts";
import { commitTake, refused, storedOutcome } from "./commit-take.ts";
import { attempt, Freeze, type Refusal, timelineOf } from "./freeze.ts";
import { evidenceOf, writersRefusal } from "./freeze-evidence.ts";
import { HeldTake } from "./held-take.ts";
import { prepareTake, rollBackPending, switches } from "./pending.ts";
import { DEFAULT_WINDOW_MS, refuseFreeze } from "./refuse-freeze.ts";
import { spaceShortage } from "./space.ts";
import { readReport } from "./writers-report.ts";

/** The new layers are made and the guest is frozen; it stays so for the next step. */
export async function holdFrozen(
  parts: AgentParts,
  context: StepContext,
  workload: Workload,
  { checkpointUid, freezeWindowMs, excludeDisks }: HoldFrozen,
): Promise<CheckpointOutcome> {
  const stored = await storedOutcome(workload, checkpointUid);
  if (stored !== undefined) return stored;
  const { machine } = workload;
  if (machine === undefined) return refused("vm.off", "the VM is off: its disks need no freeze");
  await rollBackPending(parts, workload);
  const windowMs = freezeWindowMs === 0 ? DEFAULT_WINDOW_MS : freezeWindowMs;
  const unfit = await refuseFreeze(workload, machine, windowMs);
  if (unfit !== undefined) return refused(unfit.reason, unfit.detail);
  const shortage = await spaceShortage(parts, workload, 0);
  if (shortage !== undefined) return refused("space.insufficient", shortage);
  await prepareTake(parts, context, workload, { checkpointUid, ownStop: false, excludeDisks });
  try {
    const request = { uid: workload.uid, guest: machine.guest, agentSocket: workload.folder.agentSocket, windowMs };
    const freeze = await Freeze.begin(parts, request, (thaw) => workload.oweThaw(thaw));
    workload.held = new HeldTake(checkpointUid, freeze, parts.clock);
    if (freeze.refusal !== undefined) return await giveUp(parts, workload, workload.held);
    return { ...nothingRefused, evidence: { timeline: timelineOf({ ...freeze.began, thawedAt: undefined }) } };
  } catch (error) {
    await rollBackPending(parts, workload);
    throw error;
  }
}

/** The disks of the guest that stands frozen, at one instant. */
export async function takeHeld(
  parts: AgentParts,
  workload: Workload,
  { checkpointUid }: TakeHeld,
): Promise<CheckpointOutcome> {
  const stored = await storedOutcome(workload, checkpointUid);
  if (stored !== undefined) return stored;
  const { machine, manifest } = workload;
  const held = heldTake(workload, checkpointUid);
  if (held === undefined || machine === undefined || manifest.pending === null) return refused(...interrupted);
  if (held.takenAt === undefined) {
    const overlay = switches(workload, manifest.pending);
    held.refusal = held.isFrozen
      ? await attempt("agent.take-held", () => machine.layers.switchOver(overlay))
      : { reason: "freeze.window_exceeded", detail: "the guest was thawed at the end of its freeze window" };
    if (held.refusal !== undefined) return refused(held.refusal.reason, held.refusal.detail);
    held.takenAt = parts.clock.now();
  }
  return { ...nothingRefused, evidence: { timeline: takenMoment(held) } };
}

/** Thaws the guest, and makes a checkpoint of what was taken if it is wanted and the evidence carries it. */
export async function thawHeld(
  parts: AgentParts,
  workload: Workload,
  { checkpointUid, commit }: ThawHeld,
): Promise<CheckpointOutcome> {
  const stored = await storedOutcome(workload, checkpointUid);
  if (stored !== undefined) return stored;
  const held = heldTake(workload, checkpointUid);
  if (held === undefined) {
    if (workload.manifest.pending?.checkpoint === checkpointUid) await rollBackPending(parts, workload);
    return refused(...interrupted);
  }
  if (!commit) return await giveUp(parts, workload, held);
  const { refusal, evidence } = await judged(parts, workload, held);
  if (refusal !== undefined) return await giveUp(parts, workload, held);
  const taken = { checkpointUid, kind: "production", evidence, ramBytes: 0 } as const;
  const outcome = await commitTake(parts, workload, taken);
  workload.held = undefined;
  return outcome;
}

const nothingRefused = { refusedReason: "", refusedDetail: "", sizeBytes: 0 };

/** The agent that had frozen the guest ended; the guard, or the one that came after it, thawed the guest. */
const interrupted = [
  "freeze.interrupted",
  "the host's agent ended while the guest stood frozen; it was thawed",
] as const;

const notWanted: Refusal = {
  reason: "group.member_failed",
  detail: "another VM of the group could not be checkpointed this way",
};

const heldTake = ({ held }: Workload, checkpointUid: string) =>
  held?.checkpointUid === checkpointUid ? held : undefined;

async function giveUp(parts: AgentParts, workload: Workload, held: HeldTake): Promise<CheckpointOutcome> {
  const { refusal = notWanted, evidence } = await judged(parts, workload, held);
  await rollBackPending(parts, workload);
  return refused(refusal.reason, refusal.detail, evidence);
}

async function judged({ clock }: AgentParts, { machine }: Workload, held: HeldTake) {
  const window = await held.thaw();
  const writers = machine === undefined ? [] : await readReport(machine.guest, clock);
  const evidence = evidenceOf(window, writers);
  const timeline = [...evidence.timeline, ...takenMoment(held)].toSorted((a, b) => (a.time < b.time ? -1 : 1));
  const neverTaken = held.takenAt === undefined ? notWanted : undefined;
  const refusal = held.refusal ?? window.refusal ?? writersRefusal(writers) ?? neverTaken;
  return { refusal, evidence: { ...evidence, timeline } };
}

const takenMoment = ({ takenAt }: HeldTake) =>
  takenAt === undefined ? [] : [{ event: "taken", time: takenAt.toISOString() }];
