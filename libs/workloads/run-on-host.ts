import type { StepResult } from "#contracts/host/v1/agent";
import { isStillpointError, StillpointError } from "#libs/errors";
import type { AgentAction, HostAgents, StepContext, WorkloadOnHost } from "#libs/host-agent";

/** What is done where, by the name of its step. */
interface OnHost {
  readonly at: WorkloadOnHost;
  readonly step: string;
  readonly action: AgentAction;
}

/**
 * Has a host carry out a step. One that cannot start a workload for want of a lease is as one that does not answer: its
 * owner does not hear it at the moment, or its agent has just begun anew. That is tried again.
 */
export async function runOnHost(
  agents: Pick<HostAgents, "runStep">,
  context: StepContext,
  { at, step, action }: OnHost,
): Promise<StepResult> {
  try {
    return await agents.runStep(context, at, step, action);
  } catch (error) {
    if (action.$case !== "startVm" || !isStillpointError(error, "LEASE_EXPIRED")) throw error;
    throw new StillpointError("HOST_UNREACHABLE", error.message, { cause: error });
  }
}
