import type { StepProgress, StepResult } from "#contracts/host/v1/agent";
import type { Clock } from "#libs/clock";

/** Callers hear of a step at least this often (the contract says 2 s). */
const KEEP_ALIVE_MS = 1_500;
/** Progress is passed on at most this often. */
const PROGRESS_MS = 200;

/** A step that is under way, for all who wait for it. It goes on when they leave. */
export class StepRun {
  readonly operation: string;
  readonly step: string;
  readonly result: Promise<StepResult>;
  #progress: StepProgress = { percent: 0, bytesDone: 0, bytesTotal: 0, message: "" };
  #changed = Promise.withResolvers<void>();

  constructor(
    { operation, step }: { readonly operation: string; readonly step: string },
    run: (progress: (update: Partial<StepProgress>) => void) => Promise<StepResult>,
  ) {
    this.operation = operation;
    this.step = step;
    this.result = run((update) => this.#tell(update));
    this.result.catch(() => undefined); // whoever waits hears of it; nobody may
  }

  /** Progress until the step is over or the caller leaves; the last word at least every 2 s. */
  async *progress(clock: Clock, signal: AbortSignal): AsyncGenerator<StepProgress> {
    const over = this.result.then(
      () => "over" as const,
      () => "over" as const,
    );
    while (!signal.aborted) {
      using timer = new Timer(clock, KEEP_ALIVE_MS);
      const happened = await Promise.race([over, this.#changed.promise, timer.passed]);
      if (happened === "over") return;
      yield this.#progress;
      using pause = new Timer(clock, PROGRESS_MS);
      await Promise.race([over, pause.passed]);
    }
  }

  #tell(update: Partial<StepProgress>): void {
    this.#progress = { ...this.#progress, ...update };
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }
}

class Timer {
  readonly passed: Promise<void>;
  readonly #controller = new AbortController();

  constructor(clock: Clock, ms: number) {
    this.passed = clock.sleep(ms, this.#controller.signal).catch(() => undefined);
  }

  [Symbol.dispose](): void {
    this.#controller.abort();
  }
}
