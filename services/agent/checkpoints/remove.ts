import type { DiscardCheckpoint, RemoveCheckpoints } from "#contracts/host/v1/agent";
import { failpoint } from "#libs/failpoints";
import type { AgentParts } from "../actions/agent-parts.ts";
import type { StepContext } from "../steps/step-runner.ts";
import type { Workload } from "../workload.ts";
import { forgetDigest } from "./digests.ts";
import { isNewest, withoutCheckpoints, withUntaken } from "./layer-tree.ts";
import { queueMerges } from "./merge.ts";
import { rollBackPending } from "./pending.ts";
import { sweepFiles } from "./sweep-files.ts";

/** Forgets checkpoints, in any position, at once and durably; their layers are merged when nothing else is to be done. */
export async function removeCheckpoints(
  parts: AgentParts,
  workload: Workload,
  { checkpointUids }: RemoveCheckpoints,
): Promise<void> {
  await workload.save((manifest) => withoutCheckpoints(manifest, checkpointUids));
  await failpoint("agent.remove-checkpoints.forgotten");
  await sweepFiles(parts, workload);
  queueMerges(parts, workload);
}

/**
 * Takes a checkpoint back: when now alone stands on it, its layers are written to again. Of one that was not received
 * whole nothing stays.
 */
export async function discardCheckpoint(
  parts: AgentParts,
  context: StepContext,
  workload: Workload,
  { checkpointUid }: DiscardCheckpoint,
): Promise<void> {
  const { layers = {} } = workload.manifest.checkpoints[checkpointUid] ?? {};
  const files = Object.entries(layers).map(([disk, layer]) => workload.folder.layer(disk, layer));
  if (files.length > 0) {
    const shared = await Promise.all(files.map((path) => parts.disks.isShared(path)));
    if (shared.includes(true) || !isNewest(workload.manifest, checkpointUid)) {
      return await removeCheckpoints(parts, workload, { checkpointUids: [checkpointUid] });
    }
    for (const path of files) {
      await forgetDigest(path);
      await parts.disks.unseal(path, workload.manifest.processUid);
    }
    await workload.save((manifest) => withUntaken(manifest, checkpointUid, context.operation));
  }
  if (workload.manifest.receiving?.checkpoint === checkpointUid) {
    await workload.save((manifest) => ({ ...manifest, receiving: null }));
  }
  await rollBackPending(parts, workload);
  await sweepFiles(parts, workload);
}
