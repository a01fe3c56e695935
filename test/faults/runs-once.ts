import { setTimeout as sleep } from "node:timers/promises";
import { findQemus } from "../harness/qemu-process.ts";

const EVERY_MS = 200;

/** Looks five times a second whether a VM runs twice, on whatever host below a folder. */
export class RunsOnce implements AsyncDisposable {
  readonly #stopped = new AbortController();
  readonly #violations = new Set<string>();
  readonly #looking: Promise<void>;
  #looks = 0;

  constructor(root: string) {
    this.#looking = this.#look(root);
  }

  get looks(): number {
    return this.#looks;
  }

  get violations(): string[] {
    return [...this.#violations];
  }

  async #look(root: string): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      const uids = (await findQemus(root)).map(({ folder }) => folder.split("/").at(-1) ?? "");
      for (const uid of uids) if (uids.filter((other) => other === uid).length > 1) this.#violations.add(uid);
      this.#looks++;
      await sleep(EVERY_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort();
    await this.#looking;
  }
}
