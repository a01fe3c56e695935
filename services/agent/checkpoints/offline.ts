import type { CheckpointOutcome, TakeOffline } from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import type { AgentParts } from "../actions/agent-parts.ts";
import type { StepContext } from "../steps/step-runner.ts";
import type { Workload } from "../workload.ts";
import { commitTake, storedOutcome } from "./commit-take.ts";
import { prepareTake, rollBackPending } from "./pending.ts";
import { refuseShortage } from "./space.ts";

/** The disks of a VM that is off are at rest: new layers are put over them. */
export async function takeOffline(
  parts: AgentParts,
  context: StepContext,
  workload: Workload,
  { checkpointUid, excludeDisks }: TakeOffline,
): Promise<CheckpointOutcome> {
  const stored = await storedOutcome(workload, checkpointUid);
  if (stored !== undefined) return stored;
  if (workload.machine !== undefined) {
    throw new StillpointError("VM_STATE", `${workload.definition.name} is on; an offline checkpoint needs it off`);
  }
  await refuseShortage(parts, workload, 0);
  await prepareTake(parts, context, workload, { checkpointUid, ownStop: false, excludeDisks });
  const timeline = [{ event: "taken", time: parts.clock.now().toISOString() }];
  try {
    return await commitTake(parts, workload, { checkpointUid, kind: "offline", evidence: { timeline }, ramBytes: 0 });
  } catch (error) {
    await rollBackPending(parts, workload);
    throw error;
  }
}
