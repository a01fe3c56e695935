import { ScheduleRunResult } from "#contracts/checkpoint/v1/schedule";
import type { CheckpointType } from "#contracts/vm/v1/vm";
import type { JobOutput } from "#libs/operations";
import type { Workload } from "../records/checkpoint-store.ts";

export interface RunInput {
  /** Of the schedule's incarnation. */
  readonly uid: string;
  /** Names this run among all of the schedule: its due time, or when a person asked. */
  readonly key: string;
  /** ISO 8601; absent when a person asked. */
  readonly due?: string;
}

/** Output of step `select`. */
export interface Selected {
  readonly vms: readonly Workload[];
  readonly checkpointType: CheckpointType;
  readonly excludeDisks: readonly string[];
  readonly isDrill?: boolean;
  /** Empty or absent: the checkpoints are not pushed. */
  readonly push?: string;
  /** ISO 8601; undefined when the run ended before it began. */
  readonly startTime?: string;
}

/** Each item of `done`, output of the steps that do something with a VM. */
export interface Acted {
  readonly vm: string;
  readonly checkpoint?: string;
  readonly proven?: string;
  readonly deleted?: readonly string[];
  readonly failures: readonly Failure[];
}

export interface Failure {
  readonly action: "take" | "push" | "drill" | "delete";
  readonly checkpoint?: string;
  readonly reason: string;
  readonly message: string;
}

/** Each item of `plans`, output of step `plan`. */
export interface Planned {
  readonly vm: Workload;
  /** Resource names, oldest first. */
  readonly checkpoints: readonly string[];
}

type Outputs = Readonly<Record<string, JobOutput>>;

export const selected = ({ select }: Outputs): Selected =>
  (select ?? { vms: [], checkpointType: "CHECKPOINT_TYPE_UNSPECIFIED", excludeDisks: [] }) as unknown as Selected;

export const planned = ({ plan }: Outputs): readonly Planned[] => (plan?.plans ?? []) as readonly Planned[];

/** What came of each VM so far. */
export function resultsOf(outputs: Outputs): ScheduleRunResult[] {
  const acted = ["take", "push", "drill", "delete"].flatMap((step) => actedIn(outputs[step]));
  return selected(outputs).vms.map(({ name }) => {
    const own = acted.filter(({ vm }) => vm === name);
    return ScheduleRunResult.fromPartial({
      vm: name,
      checkpoint: own.find(({ checkpoint }) => checkpoint !== undefined)?.checkpoint ?? "",
      proven: own.find(({ proven }) => proven !== undefined)?.proven ?? "",
      deleted: own.flatMap(({ deleted = [] }) => deleted),
      failures: own.flatMap(({ failures }) => failures),
    });
  });
}

/** The checkpoint that was taken of each VM. */
export const taken = ({ take }: Outputs): ReadonlyMap<string, string> =>
  new Map(actedIn(take).flatMap(({ vm, checkpoint }) => (checkpoint === undefined ? [] : [[vm, checkpoint]])));

const actedIn = (output: JobOutput | undefined): readonly Acted[] => (output?.done ?? []) as readonly Acted[];
