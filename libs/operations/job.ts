import type { StillpointError } from "#libs/errors";

/** A long job: a list of named steps, resumed at the first that is not done, undone in reverse when it fails for good. */
export interface Job<Input = unknown> {
  /** <service>.<verb>, for example "vm.create". */
  readonly kind: string;
  readonly steps: readonly Step<Input>[];
  /**
   * Writes the target's new state, which frees the target (operation: null), before the operation becomes terminal.
   * Runs after the last step or after the undo of all; must be safe to run twice: it leaves a target alone that
   * this operation no longer holds. Gives the operation's output. A job without a target may leave it out.
   */
  conclude?(context: JobContext<Input>, outcome: Outcome): Promise<JobOutput | undefined>;
}

/** Each step is idempotent: it may run again after a crash at any point in it. */
export interface Step<Input = unknown> {
  /** kebab-case, unique in the job. */
  readonly name: string;
  /** True when there is nothing to do: the step is skipped. */
  skip?(context: JobContext<Input>): Promise<boolean> | boolean;
  /** What it gives is stored with the operation and found in `context.outputs`. */
  run(context: JobContext<Input>): Promise<JobOutput | undefined>;
  /** Takes back what `run` did, or may have done in part. Fails only when a person has to look. */
  undo?(context: JobContext<Input>): Promise<void>;
}

/** Plain JSON. */
export type JobOutput = Readonly<Record<string, unknown>>;

export type Outcome = { readonly succeeded: true } | { readonly succeeded: false; readonly error: StillpointError };

/** What a step knows. */
export interface JobContext<Input = unknown> {
  readonly operationId: string;
  /** Resource name; empty when the job has no target. */
  readonly target: string;
  readonly input: Input;
  /** Fencing token: the stream sequence of the claim under which this worker acts. */
  readonly epoch: number;
  readonly principal: string;
  /** Outputs of the steps that are done, by name. */
  readonly outputs: Readonly<Record<string, JobOutput>>;
  /**
   * Aborted when the claim is lost, when the worker stops, and in a step's `run` when the operation is cancelled. The
   * loss of a lease alone does not abort: it only makes the worker look whether its claim is still good.
   */
  readonly signal: AbortSignal;
  /** Tells how far the step is; cheap, lossy, may be called often. */
  progress(update: ProgressUpdate): void;
}

export interface ProgressUpdate {
  /** 0 to 100. */
  readonly percent?: number;
  readonly bytesDone?: number;
  readonly bytesTotal?: number;
  readonly message?: string;
}
