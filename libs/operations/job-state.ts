import type { ProgressUpdate } from "./job.ts";

/** What people look at many times a second; may be lost at any time without harm. */
export interface JobState {
  /** Fails with UNAVAILABLE when it cannot be kept. */
  write(states: readonly LiveState[]): Promise<void>;
  /** In the order of the ids; undefined where nothing is known. Fails with UNAVAILABLE. */
  read(operationIds: readonly string[]): Promise<(LiveState | undefined)[]>;
}

/** Where a running operation is. */
export interface LiveState extends ProgressUpdate {
  readonly operationId: string;
  readonly worker: string;
  /** Changes as long as the worker lives. */
  readonly heartbeat: number;
  readonly step: string;
}
