import { open, readFile } from "node:fs/promises";
import { StepResult } from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import { writeDurably } from "./durable-file.ts";

type Line =
  | { readonly fence: { readonly epoch: number; readonly operation: string } }
  | { readonly intent: { readonly step: string; readonly action: string } }
  | { readonly done: { readonly step: string; readonly result: unknown } };

/**
 * Who may act on a workload, and what the current operation has done: one JSON line each, durable before it is
 * answered. A fence for another operation begins a new file, as an older one is over by then.
 */
export class StepJournal {
  readonly #path: string;
  #epoch = 0;
  #operation = "";
  readonly #done = new Map<string, StepResult>();
  readonly #begun = new Map<string, string>();

  private constructor(path: string) {
    this.#path = path;
  }

  static async open(path: string): Promise<StepJournal> {
    const journal = new StepJournal(path);
    const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return "";
      throw error;
    });
    // The last line has no end when the agent died while writing it: then it was never answered.
    for (const line of text.split("\n").slice(0, -1)) journal.#apply(JSON.parse(line) as Line);
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

  /** Actions that were begun and have no result: what they did is not known. */
  get unfinished(): string[] {
    return [...this.#begun].filter(([step]) => !this.#done.has(step)).map(([, action]) => action);
  }

  resultOf(step: string): StepResult | undefined {
    return this.#done.get(step);
  }

  /** @throws StillpointError EPOCH_STALE when a newer claim has been here */
  async fence(epoch: number, operation: string): Promise<void> {
    const sameClaim = epoch === this.#epoch && operation === this.#operation;
    if (sameClaim) return;
    if (epoch <= this.#epoch) throw stale(`epoch ${epoch} came after epoch ${this.#epoch}`);
    const line: Line = { fence: { epoch, operation } };
    if (operation === this.#operation) await this.#append(line);
    else await writeDurably(this.#path, `${JSON.stringify(line)}\n`);
    this.#apply(line);
  }

  /** @throws StillpointError EPOCH_STALE when this claim does not hold the workload */
  checkClaim(epoch: number, operation: string): void {
    if (epoch === this.#epoch && operation === this.#operation) return;
    throw stale(`epoch ${epoch} of ${operation} does not hold the workload; epoch ${this.#epoch} does`);
  }

  async begin(step: string, action: string): Promise<void> {
    await this.#append({ intent: { step, action } });
  }

  async finish(step: string, result: StepResult): Promise<void> {
    await this.#append({ done: { step, result: StepResult.toJSON(result) } });
  }

  async #append(line: Line): Promise<void> {
    await using file = await open(this.#path, "a", 0o600);
    await file.appendFile(`${JSON.stringify(line)}\n`);
    await file.datasync();
    this.#apply(line);
  }

  #apply(line: Line): void {
    if ("intent" in line) this.#begun.set(line.intent.step, line.intent.action);
    else if ("done" in line) this.#done.set(line.done.step, StepResult.fromJSON(line.done.result));
    else this.#applyFence(line.fence);
  }

  #applyFence({ epoch, operation }: { epoch: number; operation: string }): void {
    if (operation !== this.#operation) {
      this.#done.clear();
      this.#begun.clear();
    }
    this.#epoch = epoch;
    this.#operation = operation;
  }
}

function stale(why: string): StillpointError {
  return new StillpointError("EPOCH_STALE", `a newer worker has taken over: ${why}`);
}
