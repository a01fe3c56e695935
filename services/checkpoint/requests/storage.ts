import type { Checkpoint } from "#contracts/checkpoint/v1/checkpoint";
import type { CheckpointStorage, Vm } from "#contracts/vm/v1/vm";
import type { HostAgents } from "#libs/host-agent";
import type { StoredRecord } from "#libs/records";

export interface StorageDeps {
  readonly agents: Pick<HostAgents, "getWorkload">;
}

/** Nobody waits longer for sizes. */
const askWithinMs = 1_500;

/** What a VM's checkpoints take: as its host sees it now, or as it last told where it does not answer in time. */
export async function storageOf(
  { agents }: StorageDeps,
  { uid, body }: StoredRecord<Vm>,
): Promise<CheckpointStorage | undefined> {
  if (body.host === "") return undefined;
  const asked = agents.getWorkload({ host: body.host, uid }, AbortSignal.timeout(askWithinMs));
  const workload = await asked.catch(() => undefined);
  return workload?.storage ?? body.checkpointStorage;
}

/** The checkpoint with the sizes that are known now: both change when what it stands on is merged into it. */
export function withSizes(checkpoint: Checkpoint, storage: CheckpointStorage | undefined): Checkpoint {
  const size = storage?.sizes.find(({ uid }) => uid === checkpoint.uid);
  if (size === undefined) return checkpoint;
  return { ...checkpoint, sizeBytes: size.ownBytes, cumulativeBytes: size.cumulativeBytes };
}
