import { ScheduleRunResult } from "#contracts/checkpoint/v1/schedule";
import type { CheckpointType } from "#contracts/vm/v1/vm";
import type { JobOutput } from "#libs/operations";
import type { Workload } from "../checkpoint-store.ts";

/** Output of step `select`. */
export interface Selected {
  readonly vms: readonly Workload[];
  readonly checkpointType: CheckpointType;
  readonly excludeDisks: readonly string[];
  /** ISO 8601; undefined when the run ended before it began. */
  readonly startTime?: string;
}

/** Each item of `takings`, output of step `take`, and of `deletions`, output of step `delete`. */
export interface Acted {
  readonly vm: string;
  readonly checkpoint?: string;
  readonly deleted?: readonly string[];
  readonly failures: readonly Failure[];
}

export interface Failure {
  readonly action: "take" | "delete";
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
  const acted = [...actedIn(outputs.take?.takings), ...actedIn(outputs.delete?.deletions)];
  return selected(outputs).vms.map(({ name }) => {
    const own = acted.filter(({ vm }) => vm === name);
    return ScheduleRunResult.fromPartial({
      vm: name,
      checkpoint: own.find(({ checkpoint }) => checkpoint !== undefined)?.checkpoint ?? "",
      deleted: own.flatMap(({ deleted = [] }) => deleted),
      failures: own.flatMap(({ failures }) => failures),
    });
  });
}

const actedIn = (output: unknown): readonly Acted[] => (output ?? []) as readonly Acted[];
