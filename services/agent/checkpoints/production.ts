import type { CheckpointOutcome, TakeProduction } from "#contracts/host/v1/agent";
import type { AgentParts } from "../actions/agent-parts.ts";
import type { StepContext } from "../steps/step-runner.ts";
import type { Workload } from "../workload.ts";
import { commitTake, refused, storedOutcome } from "./commit-take.ts";
import { whileFrozen } from "./freeze.ts";
import { evidenceOf, writersRefusal } from "./freeze-evidence.ts";
import { prepareTake, rollBackPending, switches } from "./pending.ts";
import { DEFAULT_WINDOW_MS, refuseFreeze } from "./refuse-freeze.ts";
import { spaceShortage } from "./space.ts";
import { readReport } from "./writers-report.ts";

/**
 * Freeze, snapshot, thaw. All that can be done beforehand is done before the freeze: between its answer and the thaw
 * there is one transaction. What cannot be reached is an answer with a reason, and leaves nothing behind.
 */
export async function takeProduction(
  parts: AgentParts,
  context: StepContext,
  workload: Workload,
  { checkpointUid, freezeWindowMs, excludeDisks }: TakeProduction,
): Promise<CheckpointOutcome> {
  const stored = await storedOutcome(workload, checkpointUid);
  if (stored !== undefined) return stored;
  const { machine } = workload;
  if (machine === undefined) return refused("vm.off", "the VM is off: its disks need no freeze");
  const windowMs = freezeWindowMs === 0 ? DEFAULT_WINDOW_MS : freezeWindowMs;
  const unfit = await refuseFreeze(workload, machine, windowMs);
  if (unfit !== undefined) return refused(unfit.reason, unfit.detail);
  const shortage = await spaceShortage(parts, workload, 0);
  if (shortage !== undefined) return refused("space.insufficient", shortage);
  const pending = await prepareTake(parts, context, workload, { checkpointUid, ownStop: false, excludeDisks });
  try {
    const overlay = switches(workload, pending);
    const request = { uid: workload.uid, guest: machine.guest, agentSocket: workload.folder.agentSocket, windowMs };
    const window = await whileFrozen(
      parts,
      request,
      () => machine.layers.switchOver(overlay),
      (thaw) => workload.oweThaw(thaw),
    );
    const writers = await readReport(machine.guest, parts.clock);
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
