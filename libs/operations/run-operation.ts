import type { Clock, Random } from "#libs/clock";
import type { StillpointError } from "#libs/errors";
import { failpoint } from "#libs/failpoints";
import { type Claim, ClaimLost } from "./claim.ts";
import { asFailure, cancelled, isStale, isTransient, undoFailure } from "./failure.ts";
import type { Job, JobContext, JobOutput, Outcome, ProgressUpdate, Step } from "./job.ts";
import { isTerminal, restoreError } from "./operation-record.ts";
import * as move from "./operation-state.ts";
import { Patience, type RetryLimits } from "./patience.ts";

export interface RunDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly retry: RetryLimits;
  /** Told how far the step is. */
  progress(update: ProgressUpdate): void;
}

/** Of each worker. */
const UNDO_ATTEMPTS = 5;
/** A step that was begun so often has outlived two workers. */
const BEGUN_OFTEN = 3;
const ASIDE_MS = 250;

/** Moves a claimed operation on until it has ended. Fails with ClaimLost when somebody else has to go on. */
export async function runOperation(claim: Claim, job: Job, deps: RunDeps): Promise<void> {
  const run = new Run(claim, job, deps);
  while (!isTerminal(claim.record)) await run.next();
}

class Run {
  readonly #claim: Claim;
  readonly #job: Job;
  readonly #deps: RunDeps;
  #lastError: unknown;

  constructor(claim: Claim, job: Job, deps: RunDeps) {
    this.#claim = claim;
    this.#job = job;
    this.#deps = deps;
  }

  async next(): Promise<void> {
    switch (this.#claim.record.phase) {
      case "steps":
        return await this.#forward();
      case "undo":
        return await this.#backward();
      case "conclude":
        return await this.#conclude();
    }
  }

  async #forward(): Promise<void> {
    const claim = this.#claim;
    const step = this.#step();
    if (claim.record.cancelRequested === true) {
      // An attempt that is not the first follows one that may have done something.
      return await claim.commit(move.failed(cancelled(claim.id), claim.record.attempt > 1));
    }
    try {
      const result = await this.#untilSettled(this.#name(step), this.#deps.retry, () => this.#attempt(step));
      await claim.commit(move.stepDone(this.#job, { ...result, idle: await this.#idleAfter(step, result.output) }));
    } catch (error) {
      const failure = this.#failure(error, step);
      await claim.commit(move.failed(failure, true));
    }
    await failpoint(`${this.#name(step)}.committed`);
  }

  /** The steps right after it that have nothing to do: passed over in the same write, and never shown as begun. */
  async #idleAfter(step: Step, output: JobOutput | undefined): Promise<string[]> {
    const context = this.#context(this.#claim.signal);
    const outputs = output === undefined ? context.outputs : { ...context.outputs, [step.name]: output };
    const idle: string[] = [];
    for (const next of this.#job.steps.slice(move.indexOfStep(this.#job, step.name) + 1)) {
      // One that cannot tell now is asked again when its turn comes.
      const isIdle = async () => (await next.skip?.({ ...context, outputs })) === true;
      if (!(await isIdle().catch(() => false))) break;
      idle.push(next.name);
    }
    return idle;
  }

  async #attempt(step: Step): Promise<{ output: JobOutput | undefined; skipped: boolean }> {
    const stop = new AbortController();
    const context = this.#context(stop.signal);
    const unwatch = watchFor(this.#claim, stop);
    try {
      // What an earlier attempt may have done is this operation's own work, and is not skipped.
      const skipped = (await step.skip?.(context)) === true;
      if (skipped) return { output: undefined, skipped: this.#claim.record.attempt === 1 };
      await failpoint(`${this.#name(step)}.before`);
      const output = await step.run(context);
      await failpoint(`${this.#name(step)}.after`);
      return { output, skipped: false };
    } finally {
      unwatch();
    }
  }

  async #backward(): Promise<void> {
    const claim = this.#claim;
    const step = this.#step();
    if (step.undo !== undefined && !claim.record.skipped.includes(step.name)) {
      const attempts = Math.min(claim.record.attempt - 1 + UNDO_ATTEMPTS, this.#deps.retry.attempts);
      const limits = { ...this.#deps.retry, attempts: Math.max(attempts, UNDO_ATTEMPTS) };
      try {
        const name = `${this.#name(step)}.undo`;
        const work = async () => await step.undo?.(this.#context(claim.signal));
        await failpoint(`${name}.before`);
        await this.#untilSettled(name, limits, work, () => true);
        await failpoint(`${name}.after`);
      } catch (error) {
        if (claim.signal.aborted || isStale(error)) throw new ClaimLost("taken over", { cause: error });
        const why = undoFailure(error, step.name, claim.record.error?.message ?? "");
        return await claim.commit(move.undoFailed(this.#job, why));
      }
    }
    await claim.commit(move.stepUndone(this.#job));
  }

  async #conclude(): Promise<void> {
    const claim = this.#claim;
    const { error } = claim.record;
    const outcome: Outcome =
      error === undefined ? { succeeded: true } : { succeeded: false, error: restoreError(error) };
    let output: JobOutput | undefined;
    try {
      const name = `${this.#job.kind}.conclude`;
      output = await this.#untilSettled(name, this.#deps.retry, async () => {
        await failpoint(`${name}.before`);
        return await this.#job.conclude?.(this.#context(claim.signal), outcome);
      });
      await failpoint(`${name}.after`);
    } catch (cause) {
      const failure = this.#failure(cause, undefined);
      return await claim.commit(move.concludeFailed(failure));
    }
    await claim.commit(move.concluded(output));
  }

  /** Runs until it succeeds or fails for good, which is when `again` says no or patience ends. */
  async #untilSettled<Result>(
    name: string,
    limits: RetryLimits,
    work: () => Promise<Result>,
    again: (error: unknown) => boolean = isTransient,
  ): Promise<Result> {
    const patience = new Patience(limits, this.#claim.record.attempt, this.#deps);
    await this.#stepAside();
    for (;;) {
      if (patience.isExhausted) throw asFailure(this.#lastError ?? new Error("it was begun too often"), name);
      try {
        return await work();
      } catch (error) {
        this.#lastError = error;
        if (this.#interrupted() || isStale(error) || patience.isOver(error) || !again(error)) throw error;
        this.#deps.progress({ message: `trying again: ${asFailure(error, name).message}` });
      }
      await this.#pause(patience.pauseAfter(this.#lastError));
    }
  }

  /** One of those that were begun often may kill its worker: chance has the others done before it, sooner or later. */
  async #stepAside(): Promise<void> {
    const { attempt } = this.#claim.record;
    if (attempt >= BEGUN_OFTEN) await this.#pause(this.#deps.random.next() * ASIDE_MS * attempt);
  }

  async #pause(ms: number): Promise<void> {
    const stop = new AbortController();
    const unwatch = watchFor(this.#claim, stop);
    await this.#deps.clock
      .sleep(ms, stop.signal)
      .catch((error: unknown) => {
        if (this.#interrupted()) throw error;
      })
      .finally(unwatch);
  }

  #interrupted(): boolean {
    const { signal, record } = this.#claim;
    return signal.aborted || (record.phase === "steps" && record.cancelRequested === true);
  }

  /** The error that the operation fails with; ClaimLost when that is not for this worker to say. */
  #failure(error: unknown, step: Step | undefined): StillpointError {
    const { signal, record, id } = this.#claim;
    if (signal.aborted || error instanceof ClaimLost || isStale(error)) {
      throw new ClaimLost(`operation ${id} is taken over`, { cause: error });
    }
    if (step !== undefined && record.cancelRequested === true) return cancelled(id);
    return asFailure(error, step === undefined ? `the end of ${this.#job.kind}` : this.#name(step));
  }

  /** A step that this version of the job no longer has fails, and needs attention when it has to be undone. */
  #step(): Step {
    const name = this.#claim.record.step;
    const missing = async () => {
      throw new Error("this version has no such step");
    };
    return this.#job.steps[move.indexOfStep(this.#job, name)] ?? { name, run: missing, undo: missing };
  }

  #name(step: Step): string {
    return `${this.#job.kind}.${step.name}`;
  }

  #context(signal: AbortSignal): JobContext {
    const { id, target, input, principal, outputs } = this.#claim.record;
    const { epoch } = this.#claim;
    const progress = (update: ProgressUpdate) => this.#deps.progress(update);
    return { operationId: id, target, input, epoch, principal, outputs, signal, progress };
  }
}

/** Aborts a step when its claim is lost or a cancel is asked for. */
function watchFor(claim: Claim, stop: AbortController): () => void {
  const lost = () => stop.abort(claim.signal.reason);
  claim.signal.addEventListener("abort", lost, { once: true });
  if (claim.signal.aborted) lost();
  const uncancel = claim.onCancel(() => stop.abort(cancelled(claim.id)));
  return () => {
    claim.signal.removeEventListener("abort", lost);
    uncancel();
  };
}
