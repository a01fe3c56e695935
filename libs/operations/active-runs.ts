import type { Clock } from "#libs/clock";
import type { Claim } from "./claim.ts";
import type { ProgressUpdate } from "./job.ts";
import type { JobHint } from "./job-queue.ts";
import type { JobState, LiveState } from "./job-state.ts";

/** An operation that this worker moves on. */
interface ActiveRun {
  readonly claim: Claim;
  readonly hint: JobHint | undefined;
  readonly startedMs: number;
  progress: ProgressUpdate & { readonly step: string };
  changed: boolean;
  heartbeat: number;
  beatAtMs: number;
  hintAtMs: number;
}

const LOOK_EVERY_MS = 200;
const HINT_EVERY_MS = 10_000;

/**
 * What this worker has in hand, and the one loop that shows others that it lives: progress and heartbeats go to the
 * job state, many in one write; where that is away the log is touched instead. Operations that end within a fifth of
 * a second cost nothing here.
 */
export class ActiveRuns {
  readonly #runs = new Map<string, ActiveRun>();
  readonly #deps: {
    readonly clock: Clock;
    readonly jobState: JobState;
    readonly worker: string;
    readonly ttlMs: number;
  };
  #beating = false;

  constructor(deps: { clock: Clock; jobState: JobState; worker: string; ttlMs: number }) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#runs.size;
  }

  has(id: string): boolean {
    return this.#runs.has(id);
  }

  claims(): Claim[] {
    return [...this.#runs.values()].map(({ claim }) => claim);
  }

  add(claim: Claim, hint: JobHint | undefined): void {
    const now = this.#deps.clock.monotonicMs();
    this.#runs.set(claim.id, {
      ...{ claim, hint, startedMs: now, beatAtMs: now, hintAtMs: now },
      progress: { step: "" },
      changed: true,
      heartbeat: 0,
    });
    if (!this.#beating) void this.#beatWhileBusy();
  }

  remove(claim: Claim): void {
    if (this.#runs.get(claim.id)?.claim === claim) this.#runs.delete(claim.id);
  }

  progress(claim: Claim, update: ProgressUpdate): void {
    const run = this.#runs.get(claim.id);
    if (run?.claim !== claim) return;
    const { step } = claim.record;
    run.progress = step === run.progress.step ? { ...run.progress, ...update } : { ...update, step };
    run.changed = true;
  }

  async #beatWhileBusy(): Promise<void> {
    this.#beating = true;
    const { clock, ttlMs } = this.#deps;
    const everyMs = Math.min(LOOK_EVERY_MS, ttlMs / 6);
    while (this.#runs.size > 0) {
      await clock.sleep(everyMs);
      await this.#beat(clock.monotonicMs());
    }
    this.#beating = false;
  }

  async #beat(now: number): Promise<void> {
    const { jobState, ttlMs } = this.#deps;
    const grown = [...this.#runs.values()].filter((run) => now - run.startedMs >= Math.min(LOOK_EVERY_MS, ttlMs / 6));
    const due = grown.filter((run) => run.changed || now - run.beatAtMs >= ttlMs / 3);
    for (const run of grown) this.#keepHint(run, now);
    if (due.length === 0) return;
    for (const run of due) run.changed = false;
    try {
      await jobState.write(due.map((run) => this.#liveState(run)));
      for (const run of due) run.beatAtMs = now;
    } catch {
      await this.#beatThroughLog(due, now);
    }
  }

  async #beatThroughLog(due: readonly ActiveRun[], now: number): Promise<void> {
    const silent = due.filter((run) => now - run.beatAtMs >= this.#deps.ttlMs / 3);
    for (const run of silent) run.beatAtMs = now;
    await Promise.all(silent.map(({ claim }) => claim.touch()));
  }

  #liveState(run: ActiveRun): LiveState {
    const { claim, progress } = run;
    run.heartbeat++;
    const { step } = claim.record;
    const shown = progress.step === step ? progress : { step };
    return { ...shown, operationId: claim.id, worker: this.#deps.worker, heartbeat: run.heartbeat };
  }

  #keepHint(run: ActiveRun, now: number): void {
    if (now - run.hintAtMs < HINT_EVERY_MS) return;
    run.hintAtMs = now;
    run.hint?.working();
  }
}
