import { StillpointError } from "#libs/errors";
import type { SimClock, SimRandom } from "./sim-clock.ts";

interface Effect {
  readonly operationId: string;
  readonly step: string;
  readonly epoch: number;
}

/**
 * A host agent as DESIGN.md wants it: keeps the highest epoch of each workload, refuses lower ones, and answers a step
 * that it has done already from its journal. What it did is what the invariants are checked on.
 */
export class SimAgent {
  readonly #clock: SimClock;
  readonly #random: SimRandom;
  readonly #epochs = new Map<string, number>();
  /** What is in force, by `<operation>/<step>`. */
  readonly inForce = new Map<string, Effect>();
  /** All that ever happened, for a person who looks at a failing seed. */
  readonly history: string[] = [];
  readonly violations: string[] = [];

  constructor(clock: SimClock, random: SimRandom) {
    this.#clock = clock;
    this.#random = random;
  }

  async run(workload: string, effect: Effect): Promise<void> {
    this.#fence(workload, effect);
    await this.#clock.sleep(this.#random.below(30));
    this.#fence(workload, effect);
    const key = `${effect.operationId}/${effect.step}`;
    if (this.inForce.has(key)) return;
    this.#checkAlone(workload, effect);
    this.inForce.set(key, effect);
    this.#note("run", workload, effect);
  }

  async undo(workload: string, effect: Effect): Promise<void> {
    this.#fence(workload, effect);
    await this.#clock.sleep(this.#random.below(30));
    this.#fence(workload, effect);
    if (this.inForce.delete(`${effect.operationId}/${effect.step}`)) this.#note("undo", workload, effect);
  }

  effectsOf(operationId: string): string[] {
    return [...this.inForce.values()].filter((effect) => effect.operationId === operationId).map(({ step }) => step);
  }

  #fence(workload: string, { epoch }: Effect): void {
    const highest = this.#epochs.get(workload) ?? 0;
    if (epoch < highest) throw new StillpointError("EPOCH_STALE", `${workload} is at ${highest}, not ${epoch}`);
    this.#epochs.set(workload, epoch);
  }

  readonly #ownerEpochs = new Map<string, { operationId: string; epoch: number }>();

  /** Independent of the fence: effects of one workload never go back to an operation that another has followed. */
  #checkAlone(workload: string, { operationId, epoch }: Effect): void {
    const before = this.#ownerEpochs.get(workload);
    if (before !== undefined && before.operationId !== operationId && epoch <= before.epoch) {
      this.violations.push(
        `${operationId} acted on ${workload} at ${epoch}, after ${before.operationId} at ${before.epoch}`,
      );
    }
    this.#ownerEpochs.set(workload, { operationId, epoch });
  }

  #note(what: string, workload: string, { operationId, step, epoch }: Effect): void {
    this.history.push(`${this.#clock.monotonicMs()} ${what} ${workload} ${operationId}/${step} at ${epoch}`);
  }
}
