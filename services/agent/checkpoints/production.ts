import type { CheckpointOutcome, TakeProduction } from "#contracts/host/v1/agent";
import type { AgentParts } from "../actions/agent-parts.ts";
import type { Machine } from "../ports.ts";
import type { StepContext } from "../steps/step-runner.ts";
import type { Workload } from "../workload.ts";
import { commitTake, refused, storedOutcome } from "./commit-take.ts";
import { type FrozenWindow, type Refusal, timelineOf, whileFrozen } from "./freeze.ts";
import { prepareTake, rollBackPending, switches } from "./pending.ts";
import { clearReport, hasFailed, readReport, type Writer } from "./writers-report.ts";

const DEFAULT_WINDOW_MS = 10_000;
const ASK_MS = 3_000;

interface GuestInfo {
  readonly supported_commands: readonly { readonly name: string; readonly enabled: boolean }[];
}

/**
 * Freeze, snapshot, thaw. All that can be done beforehand is done before the freeze: between its answer and the thaw
 * there is one transaction. What cannot be reached is an answer with a reason, and leaves nothing behind.
 */
export async function takeProduction(
  parts: AgentParts,
  context: StepContext,
  workload: Workload,
  { checkpointUid, freezeWindowMs }: TakeProduction,
): Promise<CheckpointOutcome> {
  const stored = await storedOutcome(workload, checkpointUid);
  if (stored !== undefined) return stored;
  const { machine } = workload;
  if (machine === undefined) return refused("vm.off", "the VM is off: its disks need no freeze");
  const unfit = workload.owesThaw ? owing : await preflight(machine);
  if (unfit !== undefined) return refused(unfit.reason, unfit.detail);
  const windowMs = freezeWindowMs === 0 ? DEFAULT_WINDOW_MS : freezeWindowMs;
  const pending = await prepareTake(parts, context, workload, { checkpointUid, ownStop: false });
  try {
    const overlay = switches(workload, pending);
    const request = { uid: workload.uid, guest: machine.guest, agentSocket: workload.folder.agentSocket, windowMs };
    const window = await whileFrozen(
      parts,
      request,
      () => machine.layers.switchOver(overlay),
      (thaw) => workload.oweThaw(thaw),
    );
    const writers = await readReport(machine.guest);
    const evidence = evidenceOf(window, writers);
    const refusal = window.refusal ?? writersRefusal(writers);
    if (refusal === undefined) {
      return await commitTake(parts, workload, { checkpointUid, kind: "production", evidence, ramBytes: 0 });
    }
    await rollBackPending(parts, workload);
    return refused(refusal.reason, refusal.detail, evidence);
  } catch (error) {
    await rollBackPending(parts, workload);
    throw error;
  }
}

const owing: Refusal = { reason: "agent.unresponsive", detail: "the guest has not answered an earlier thaw yet" };

/** Never freeze a paused VM: the freeze would wait in the channel and strike when it goes on. */
async function preflight(machine: Machine): Promise<Refusal | undefined> {
  if ((await machine.state()) !== "running") return { reason: "vm.paused", detail: "the VM is paused" };
  if (!(await machine.guestIsListening()))
    return { reason: "agent.absent", detail: "no guest agent listens in the VM" };
  try {
    const { supported_commands: commands } = await machine.guest.call<GuestInfo>("guest-info", undefined, ASK_MS);
    const canFreeze = commands.some(({ name, enabled }) => name === "guest-fsfreeze-freeze" && enabled);
    // A frozen agent disables the freeze too, so its state is asked first.
    const status = await machine.guest.call<string>("guest-fsfreeze-status", undefined, ASK_MS);
    if (status === "frozen") return { reason: "agent.already_frozen", detail: "someone else has frozen the guest" };
    if (!canFreeze) return { reason: "agent.rpc_disabled", detail: "the guest agent does not allow freezing" };
    await clearReport(machine.guest);
    return undefined;
  } catch (error) {
    return { reason: "agent.unresponsive", detail: error instanceof Error ? error.message : String(error) };
  }
}

function writersRefusal(writers: readonly Writer[]): Refusal | undefined {
  const failed = writers.filter(hasFailed).map(({ name }) => name);
  if (failed.length === 0) return undefined;
  return { reason: "hook.failed", detail: `writers that did not hold still: ${failed.join(", ")}` };
}

function evidenceOf(window: FrozenWindow, writers: readonly Writer[]) {
  const { count, thawCount, windowMs } = window;
  return {
    freeze: { count, thawCount, windowMs: Math.round(windowMs * 10) / 10, writers },
    timeline: timelineOf(window),
  };
}
