import { StepResult } from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import type { Lines } from "./durable-file.ts";

type Line =
  | { readonly fence: { readonly epoch: number; readonly operation: string } }
  | { readonly intent: { readonly step: string; readonly action: string } }
  | { readonly done: { readonly step: string; readonly result: unknown } };

/**
 * Who may act on a workload, and what the current operation has done: one JSON line each, durable before it is
 * answered, but for what is only begun. A fence for another operation begins a new file, as an older one is over by then.
 */
export class StepJournal {
  readonly #lines: Lines;
  #epoch = 0;
  #operation = "";
  readonly #done = new Map<string, StepResult>();

  private constructor(lines: Lines) {
    this.#lines = lines;
  }

  static async open(lines: Lines): Promise<StepJournal> {
    const journal = new StepJournal(lines);
    for (const line of await lines.read()) journal.#apply(JSON.parse(line) as Line);
    return journal;
  }

  get epoch(): number {
    return this.#epoch;
  }

  get operation(): string {
    return this.#operation;
  }

  get stepsDone(): string[] {
    return [...this.#done.keys()];
  }

  resultOf(step: string): StepResult | undefined {
    return this.#done.get(step);
  }

  /** Whether this claim holds the workload already. */
  isHeldBy(epoch: number, operation: string): boolean {
    return epoch === this.#epoch && operation === this.#operation;
  }

  /** @throws StillpointError EPOCH_STALE when a newer claim has been here */
  async fence(epoch: number, operation: string): Promise<void> {
    if (this.isHeldBy(epoch, operation)) return;
    if (epoch <= this.#epoch) throw stale(`epoch ${epoch} came after epoch ${this.#epoch}`);
    const line: Line = { fence: { epoch, operation } };
    if (operation === this.#operation) await this.#append(line);
    else await this.#lines.replace(JSON.stringify(line));
    this.#apply(line);
  }

  /** @throws StillpointError EPOCH_STALE when this claim does not hold the workload */
  checkClaim(epoch: number, operation: string): void {
    if (this.isHeldBy(epoch, operation)) return;
    throw stale(`epoch ${epoch} of ${operation} does not hold the workload; epoch ${this.#epoch} does`);
  }

  /** Tells those who look for what went wrong; whether it took place is asked of the workload itself. */
  async begin(step: string, action: string): Promise<void> {
    await this.#append({ intent: { step, action } }, { lossy: true });
  }

  async finish(step: string, result: StepResult): Promise<void> {
    await this.#append({ done: { step, result: StepResult.toJSON(result) } });
  }

  async #append(line: Line, options = { lossy: false }): Promise<void> {
    await this.#lines.append(JSON.stringify(line), options);
    this.#apply(line);
  }

  #apply(line: Line): void {
    if ("done" in line) this.#done.set(line.done.step, StepResult.fromJSON(line.done.result));
    else if ("fence" in line) this.#applyFence(line.fence);
  }

  #applyFence({ epoch, operation }: { epoch: number; operation: string }): void {
    if (operation !== this.#operation) this.#done.clear();
    this.#epoch = epoch;
    this.#operation = operation;
  }
}

function stale(why: string): StillpointError {
  return new StillpointError("EPOCH_STALE", `a newer worker has taken over: ${why}`);
}
