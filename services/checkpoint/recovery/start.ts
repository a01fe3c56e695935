import { RecoveryState } from "#contracts/checkpoint/v1/checkpoint";
import type { Lifecycle } from "#libs/lifecycle";
import { type Operations, startRunner } from "#libs/operations";
import { createRecordStore, type Log, RecordView } from "#libs/records";
import { type PointDeps, pointJob } from "./point-job.ts";
import { keepRecoveryPoints, type PointLoopDeps } from "./point-loop.ts";

type Made = "states" | "stateView" | "operations" | "signal";

export interface StartRecoveryPointsDeps extends Omit<PointDeps & PointLoopDeps, Made> {
  /** Stream REC. */
  readonly log: Log;
  readonly operations: Operations;
  readonly operationTtlMs: number;
}

/** Points that are waited for at once, in one process. */
const concurrency = 32;

/** Starts what keeps recovery points of the workloads that are to be recovered. */
export async function startRecoveryPoints(given: StartRecoveryPointsDeps, lifecycle: Lifecycle): Promise<void> {
  const { log, clock, random, operationTtlMs: ttlMs } = given;
  const { signal } = lifecycle;
  const states = createRecordStore<RecoveryState>({ log, codec: RecoveryState, clock, random });
  const filter = "rec.projects.*.*.*.recovery";
  const stateView = await RecordView.start<RecoveryState>({ log, filter, codec: RecoveryState, signal });
  const deps = { ...given, states, stateView, signal };
  const runner = startRunner(given.operations, { jobs: [pointJob(deps)], ttlMs, concurrency });
  lifecycle.add("recovery point runner", runner, (it) => it.close());
  void lifecycle.add("recovery points", keepRecoveryPoints(deps), (loop) => loop);
}
