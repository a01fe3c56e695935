import { Checkpoint } from "#contracts/checkpoint/v1/checkpoint";
import { recoveryName } from "#libs/names";
import { decodeRecord, type Log, subjectOfName } from "#libs/records";

export interface CheckpointCount {
  readonly all: number;
  /** How many of them are protected. */
  readonly guarded: number;
  /** How many of them are recovery points: what they are for is in the registry. */
  readonly points: number;
}

/** How many checkpoints a workload has, from the leader. */
export const countCheckpointsIn =
  (log: Pick<Log, "newest">) =>
  async (workload: string): Promise<CheckpointCount> => {
    const newest = await log.newest(`${subjectOfName(workload)}.checkpoints.*`);
    const records = newest.map(({ data }) => decodeRecord(data)).filter(({ deleted }) => deleted !== true);
    const checkpoints = records.map(({ body }) => Checkpoint.fromJSON(body));
    const guarded = checkpoints.filter((it) => it.protected);
    const points = checkpoints.filter((it) => !it.protected && it.schedule === recoveryName(workload));
    return { all: records.length, guarded: guarded.length, points: points.length };
  };
