import { type Checkpoint, CheckpointState } from "#contracts/checkpoint/v1/checkpoint";
import type { Schedule } from "#contracts/checkpoint/v1/schedule";
import type { StoredRecord } from "#libs/records";
import { type Candidate, decideRetention, type RetentionRules, type Verdict } from "../domain/retention.ts";
import type { CheckpointStore, Workload } from "../records/checkpoint-store.ts";
import { timeZoneOf } from "./schedule-record.ts";

export interface JudgedCheckpoint extends Candidate {
  readonly record: StoredRecord<Checkpoint>;
}

interface Case {
  readonly vm: Workload;
  readonly schedule: Pick<Schedule, "name" | "timeZone">;
  readonly rules: RetentionRules;
}

/** A verdict on each checkpoint of the VM that the schedule took and that is not going already, newest first. */
export async function judge(
  store: Pick<CheckpointStore, "tree">,
  { vm, schedule, rules }: Case,
): Promise<Verdict<JudgedCheckpoint>[]> {
  const { checkpoints } = await store.tree(vm);
  const taken = checkpoints.filter(
    ({ body }) => body.schedule === schedule.name && body.state === CheckpointState.READY,
  );
  const candidates = taken.map((record) => ({
    record,
    uid: record.uid,
    time: record.body.createTime ?? record.time,
    holds: holdsOn(record),
  }));
  return decideRetention(candidates, rules, timeZoneOf(schedule.timeZone));
}

function holdsOn({ body, operation }: StoredRecord<Checkpoint>): string[] {
  const holds = { protected: body.protected, "in use": operation !== undefined, group: body.groupCheckpoint !== "" };
  return Object.entries(holds)
    .filter(([, isHeld]) => isHeld)
    .map(([name]) => name);
}
