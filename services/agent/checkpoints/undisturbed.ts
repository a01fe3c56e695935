import type { AgentParts } from "../actions/agent-parts.ts";
import { checkpointOf } from "./layer-tree.ts";

/**
 * Does pieces of work on the sealed layers of a checkpoint while no merge changes them. Steps on its VM need not wait
 * for it, and merges go on between two pieces.
 */
export function undisturbed({ merges, workloads }: AgentParts, workloadUid: string, checkpointUid: string) {
  return async (work: () => Promise<void>): Promise<void> => {
    using _held = await merges.hold(workloadUid);
    checkpointOf(workloads.get(workloadUid).manifest, checkpointUid);
    await work();
  };
}
