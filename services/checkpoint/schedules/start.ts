import { Schedule } from "#contracts/checkpoint/v1/schedule";
import type { Lifecycle } from "#libs/lifecycle";
import type { Leases } from "#libs/locks";
import type { Logger } from "#libs/logger";
import { type Operations, startRunner } from "#libs/operations";
import { createRecordStore, type Log, RecordView } from "#libs/records";
import { runDueSchedules } from "./due-loop.ts";
import { schedulesHandlers } from "./handlers.ts";
import { type RunJobDeps, runJob } from "./run-job.ts";

export interface StartSchedulesDeps extends Omit<RunJobDeps, "schedules" | "operations"> {
  /** Stream REC. */
  readonly log: Log;
  readonly operations: Operations;
  readonly leases: Leases;
  readonly logger: Logger;
  readonly operationTtlMs: number;
}

/** Runs of schedules that wait for their checkpoints at once, in one process. */
const concurrency = 32;

/** Starts what runs schedules, and gives the methods of their API. */
export async function startSchedules(given: StartSchedulesDeps, lifecycle: Lifecycle) {
  const { log, clock, random, operationTtlMs: ttlMs } = given;
  const { signal } = lifecycle;
  const schedules = createRecordStore<Schedule>({ log, codec: Schedule, clock, random });
  const view = await RecordView.start<Schedule>({ log, filter: "rec.projects.*.schedules.*", codec: Schedule, signal });
  const deps = { ...given, schedules, view };
  const runner = startRunner(given.operations, { jobs: [runJob(deps)], ttlMs, concurrency });
  lifecycle.add("schedule runner", runner, (it) => it.close());
  void lifecycle.add("schedules", runDueSchedules({ ...deps, signal }), (loop) => loop);
  return schedulesHandlers(deps);
}
