import { Checkpoint } from "#contracts/checkpoint/v1/checkpoint";
import { decodeRecord, type Log, subjectOfName } from "#libs/records";

export interface CheckpointCount {
  readonly all: number;
  /** How many of them are protected. */
  readonly guarded: number;
}

/** How many checkpoints a workload has, from the leader. */
export const countCheckpointsIn =
  (log: Pick<Log, "newest">) =>
  async (workload: string): Promise<CheckpointCount> => {
    const newest = await log.newest(`${subjectOfName(workload)}.checkpoints.*`);
    const records = newest.map(({ data }) => decodeRecord(data)).filter(({ deleted }) => deleted !== true);
    const guarded = records.filter(({ body }) => Checkpoint.fromJSON(body).protected).length;
    return { all: records.length, guarded };
  };
