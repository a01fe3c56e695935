import type { CheckpointOutcome, ReceiveCheckpoint } from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import type { AgentParts } from "../actions/agent-parts.ts";
import type { StepContext } from "../steps/step-runner.ts";
import type { Workload } from "../workload.ts";

/** Puts a checkpoint of another workload, or from the registry, into this workload's tree. */
export async function receiveCheckpoint(
  _parts: AgentParts,
  _context: StepContext,
  _workload: Workload,
  { source }: ReceiveCheckpoint,
): Promise<CheckpointOutcome> {
  throw new StillpointError("CAPABILITY_MISSING", `this agent cannot receive a checkpoint from ${source?.$case}`);
}
