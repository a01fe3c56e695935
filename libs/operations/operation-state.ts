import type { StillpointError } from "#libs/errors";
import type { Job, JobOutput } from "./job.ts";
import { isTerminal, type OperationRecord, type StoredError, storeError } from "./operation-record.ts";

/**
 * The life of an operation. Every arrow is one compare-and-set write; only these functions make a new state.
 *
 *   pending                accepted; it holds its target, or is about to
 *                          (claimed already by the worker of the process that accepts it, where there is room: then
 *                          its step is intended, too, and one that holds nothing begins as running/steps)
 *     -> running/steps     claimed: the first step is intended, in the same write
 *     -> failed            refused: the target was busy, or not as expected
 *   running/steps          `step` is intended, may be running, may have happened; all before it are done
 *     -> running/steps     done: its output is stored and the next step that has something to do is intended, in one write
 *     -> succeeded         the last one is done, and nothing has to be concluded
 *     -> running/conclude  the last one is done; the target is still held
 *     -> running/undo      it failed for good, or a cancel was asked for; `error` says why
 *   running/undo           `step` is being undone; all after it are undone
 *     -> running/undo      it is undone: the one before it is next
 *     -> running/conclude  all are undone, or one could not be (`attention`)
 *   running/conclude       the target's new state is being written, which frees it; nothing else is done any more
 *     -> succeeded | failed | cancelled | needs_attention    by `error` and `attention`
 *   pending, running/*
 *     -> failed            superseded: another operation took its target, as what it works with is gone
 *   running/*
 *     -> the same          claimed by another worker, given up by its worker, its claim renewed, a cancel asked for, rewritten
 *
 * A job without `conclude` passes over running/conclude. Terminal states never change.
 */
export type Transition = (record: OperationRecord) => OperationRecord;

type StepsOf = Pick<Job, "steps" | "conclude">;

/** A worker takes it: the next write of anybody else fails. */
export const claimed =
  (job: StepsOf, worker: string): Transition =>
  (record) => {
    const { acquire: _held, ...rest } = open(record);
    const began = record.state === "running";
    return {
      ...rest,
      state: "running",
      step: began ? record.step : (job.steps[0]?.name ?? ""),
      phase: began || job.steps.length > 0 ? record.phase : "conclude",
      attempt: record.attempt + 1,
      claim: { worker },
    };
  };

/** The worker of the process that accepts it takes it in the same write. It is pending still when it is to hold its target. */
export const acceptedBy =
  (job: StepsOf, worker: string): Transition =>
  (record) => {
    const taken = claimed(job, worker)(record);
    return record.acquire === undefined ? taken : { ...taken, state: "pending", acquire: record.acquire };
  };

/** Its worker has begun, so that its target is held. */
export const begun: Transition = (record) => {
  const { acquire: _held, ...rest } = open(record);
  return { ...rest, state: "running" };
};

/** A worker that stops gives it back, so that another need not wait. */
export const givenUp: Transition = (record) => {
  const { claim: _gone, ...rest } = open(record);
  return rest;
};

/** The same worker goes on under a newer epoch than anything that was claimed before now. */
export const renewed: Transition = (record) => {
  const { claim, ...rest } = open(record);
  return claim === undefined ? rest : { ...rest, claim: { worker: claim.worker } };
};

export const cancelAsked: Transition = (record) => ({ ...open(record), cancelRequested: true });

/** Nothing changes but the version: shows that its worker lives, and renews its age in the log. */
export const touched: Transition = (record) => open(record);

/** How a step ended: `idle` are the steps right after it that have nothing to do. */
interface StepEnd {
  readonly output: JobOutput | undefined;
  readonly skipped: boolean;
  readonly idle?: readonly string[];
}

/** The step that was intended is done, or had nothing to do. */
export const stepDone =
  (job: StepsOf, { output, skipped, idle = [] }: StepEnd): Transition =>
  (record) => {
    const outputs = output === undefined ? record.outputs : { ...record.outputs, [record.step]: output };
    const passed = [...record.skipped, ...(skipped ? [record.step] : []), ...idle];
    const next = job.steps[indexOfStep(job, record.step) + 1 + idle.length]?.name;
    const done = { ...open(record), outputs, skipped: passed, attempt: 0 };
    return next === undefined ? concluding(job, done) : { ...done, step: next, attempt: 1 };
  };

/**
 * It failed for good at the step that was intended, which may have happened in part unless it was never begun. What takes
 * it back has a newer epoch than all that was done: a message of a step that is late on its way is refused after that.
 */
export const failed =
  (error: StillpointError, begun: boolean): Transition =>
  (record) => ({
    ...renewed(record),
    ...{ phase: "undo", attempt: 1, error: storeError(error) },
    skipped: begun ? record.skipped : [...record.skipped, record.step],
  });

export const stepUndone =
  (job: StepsOf): Transition =>
  (record) => {
    const before = job.steps[indexOfStep(job, record.step) - 1]?.name;
    const undone = { ...open(record), attempt: 1 };
    return before === undefined ? concluding(job, undone) : { ...undone, step: before };
  };

/** An undo failed; nothing before it is undone any more. */
export const undoFailed =
  (job: StepsOf, error: StillpointError): Transition =>
  (record) =>
    concluding(job, { ...open(record), attention: true, error: storeError(error) });

/** The target is free; nothing is left to do. */
export const concluded =
  (output: JobOutput | undefined): Transition =>
  (record) =>
    ended(open(record), output);

/** The target's new state could not be written. */
export const concludeFailed =
  (error: StillpointError): Transition =>
  (record) =>
    ended({ ...open(record), attention: true, error: record.error ?? storeError(error) }, undefined);

/** It may not begin. */
export const refused =
  (error: StillpointError): Transition =>
  (record) => {
    const { acquire: _never, ...rest } = open(record);
    return { ...rest, state: "failed", refused: true, error: storeError(error) };
  };

/** Another operation has taken its target, whatever it was at. */
export const superseded =
  (error: StillpointError): Transition =>
  (record) =>
    ended({ ...open(record), error: storeError(error) }, undefined);

/** -1 for a step that this version of the job does not have. */
export function indexOfStep(job: StepsOf, name: string): number {
  return job.steps.findIndex((step) => step.name === name);
}

function concluding(job: StepsOf, record: OperationRecord): OperationRecord {
  const nothingLeft = job.conclude === undefined;
  return nothingLeft ? ended(record, lastOutput(record)) : { ...record, phase: "conclude", attempt: 1 };
}

function ended(record: OperationRecord, output: JobOutput | undefined): OperationRecord {
  const { claim: _done, ...rest } = record;
  const state = endState(record.attention === true, record.error);
  return { ...rest, state, ...(state === "succeeded" && output !== undefined ? { output } : {}) };
}

function endState(attention: boolean, error: StoredError | undefined): OperationRecord["state"] {
  if (attention) return "needs_attention";
  if (error === undefined) return "succeeded";
  return error.reason === "OPERATION_CANCELLED" ? "cancelled" : "failed";
}

/** A job that concludes nothing gives back what its last step gave. */
function lastOutput(record: OperationRecord): JobOutput | undefined {
  return record.outputs[record.step];
}

function open(record: OperationRecord): OperationRecord {
  if (isTerminal(record)) throw new Error(`operation ${record.id} has ended and cannot change`);
  return record;
}
