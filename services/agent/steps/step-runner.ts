import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { FenceRequest, RunStepRequest, StepProgress, StepResult } from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import { failpoint } from "#libs/failpoints";
import { type Lines, linesIn } from "../durable-file.ts";
import { StepJournal } from "../journal.ts";
import { checkUid } from "../workload-folder.ts";
import { StepRun } from "./step-run.ts";

export type StepAction = NonNullable<RunStepRequest["action"]>;

export interface StepContext {
  readonly uid: string;
  readonly operation: string;
  readonly epoch: number;
  /** Aborted when a newer claim waits; background work stops at its next safe point. */
  readonly signal: AbortSignal;
  readonly progress: (update: Partial<StepProgress>) => void;
}

/** Lets the background work on a workload rest until the answer is disposed of. */
export type HoldBackground = (uid: string) => Promise<Disposable>;

export type PerformAction = (context: StepContext, action: StepAction) => Promise<StepResult>;

/** Where journals are, by the uids of workloads. */
export interface Journals {
  linesOf(uid: string): Lines;
  remove(uid: string): Promise<void>;
}

/** Those in a folder that is there. */
export function journalsIn(folder: string): Journals {
  const pathOf = (uid: string) => join(folder, `${checkUid(uid)}.jsonl`);
  return { linesOf: (uid) => linesIn(pathOf(uid)), remove: (uid) => rm(pathOf(uid), { force: true }) };
}

interface Station {
  readonly journal: StepJournal;
  running: StepRun | undefined;
  /** For the step that runs: a newer claim wants the workload. */
  interrupt: AbortController;
}

/**
 * Runs the steps of operations, one at a time for a workload, each once: fenced, written down before its effect and
 * with its answer after it. A step that fails is not written down and may be tried again.
 */
export class StepRunner {
  readonly #journals: Journals;
  readonly #perform: PerformAction;
  readonly #hold: HoldBackground;
  readonly #stations = new Map<string, Promise<Station>>();

  constructor(journals: Journals, perform: PerformAction, hold: HoldBackground) {
    this.#journals = journals;
    this.#perform = perform;
    this.#hold = hold;
  }

  /** Takes a workload for a claim, settles the step that still runs, and tells which steps are done. */
  async fence({ uid, epoch, operation }: FenceRequest): Promise<string[]> {
    const station = await this.#station(uid);
    if (station.journal.isHeldBy(epoch, operation)) return station.journal.stepsDone;
    await station.journal.fence(epoch, operation);
    station.interrupt.abort(new StillpointError("EPOCH_STALE", `a newer claim (epoch ${epoch}) waits for ${uid}`));
    await station.running?.result.catch(() => undefined);
    return station.journal.stepsDone;
  }

  async epochOf(uid: string): Promise<number> {
    return (await this.#station(uid)).journal.epoch;
  }

  /** Whether a step of that workload runs now. */
  async isBusy(uid: string): Promise<boolean> {
    return (await this.#station(uid)).running !== undefined;
  }

  /** Removes the journal of a workload that is gone, unless a step of it runs. */
  async forget(uid: string): Promise<void> {
    if (await this.isBusy(uid)) return;
    this.#stations.delete(uid);
    await this.#journals.remove(uid);
  }

  /** Answers again, joins, or begins a step. @throws StillpointError EPOCH_STALE for a claim that was overtaken */
  async run(request: RunStepRequest, action: StepAction): Promise<StepRun> {
    const { uid, epoch, operation, step } = request;
    if (step === "" || operation === "") throw new StillpointError("ARGUMENT_INVALID", "a step needs a name");
    const station = await this.#station(uid);
    for (;;) {
      station.journal.checkClaim(epoch, operation);
      const stored = station.journal.resultOf(step);
      if (stored !== undefined) return new StepRun(request, async () => stored);
      const { running } = station;
      if (running === undefined) return this.#begin(station, request, action);
      if (running.operation === operation && running.step === step) return running;
      await running.result.catch(() => undefined);
    }
  }

  #begin(station: Station, request: RunStepRequest, action: StepAction): StepRun {
    station.interrupt = new AbortController();
    const { signal } = station.interrupt;
    const run = new StepRun(request, async (progress) => {
      try {
        const { uid, operation, epoch } = request;
        return await this.#carryOut(station.journal, { uid, operation, epoch, signal, progress }, request.step, action);
      } finally {
        station.running = undefined;
      }
    });
    station.running = run;
    return run;
  }

  async #carryOut(journal: StepJournal, context: StepContext, step: string, action: StepAction): Promise<StepResult> {
    const point = `agent.${kebab(action.$case)}`;
    await journal.begin(step, action.$case);
    using _background = await this.#hold(context.uid);
    await failpoint(`${point}.before`);
    const result = await this.#perform(context, action);
    await failpoint(`${point}.after`);
    await journal.finish(step, result);
    await failpoint(`${point}.committed`);
    return result;
  }

  #station(uid: string): Promise<Station> {
    const known = this.#stations.get(checkUid(uid));
    if (known !== undefined) return known;
    const opened = this.#open(uid);
    this.#stations.set(uid, opened);
    opened.catch(() => this.#stations.delete(uid));
    return opened;
  }

  async #open(uid: string): Promise<Station> {
    const journal = await StepJournal.open(this.#journals.linesOf(uid));
    return { journal, running: undefined, interrupt: new AbortController() };
  }
}

/** takeProduction → take-production */
function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
