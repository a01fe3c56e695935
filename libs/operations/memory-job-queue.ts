import type { Clock } from "#libs/clock";
import { Wakeup } from "#libs/records";
import type { JobHint, JobQueue, TakeOptions } from "./job-queue.ts";

/** Hints in memory, for tests and the simulator. */
export class MemoryJobQueue implements JobQueue {
  readonly #clock: Clock;
  readonly #waiting = new Map<string, string[]>();
  readonly #arrived = new Wakeup();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  hint(service: string, operationId: string): void {
    const waiting = this.#waiting.get(service) ?? [];
    waiting.push(operationId);
    this.#waiting.set(service, waiting);
    this.#arrived.wake();
  }

  async *take(service: string, { atMost, signal }: TakeOptions): AsyncGenerator<JobHint> {
    let taken = 0;
    const finished = new Wakeup();
    const settle = () => {
      taken--;
      finished.wake();
    };
    while (!signal.aborted) {
      const woken = Promise.race([this.#arrived.next(signal), finished.next(signal)]);
      const operationId = taken < atMost ? this.#waiting.get(service)?.shift() : undefined;
      if (operationId === undefined) {
        await woken;
      } else {
        taken++;
        yield this.#hint(service, operationId, settle);
      }
    }
  }

  /** Forgets everything, as a NATS does that was started again. */
  flush(): void {
    this.#waiting.clear();
  }

  #hint(service: string, operationId: string, settle: () => void): JobHint {
    return {
      operationId,
      working: () => undefined,
      finish: async () => settle(),
      again: (delayMs) => {
        settle();
        void this.#clock.sleep(delayMs).then(() => this.hint(service, operationId));
      },
    };
  }
}
