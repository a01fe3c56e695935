import { setTimeout as sleep } from "node:timers/promises";
import { type ControlGroup, isFrozen, isThere, processesIn } from "../../services/agent/lease/control-group.ts";
import { isEnding, isStopped } from "../../services/agent/testing/process-state.ts";
import { findQemus } from "../harness/qemu-process.ts";

const EVERY_MS = 200;

/** Looks five times a second whether a VM runs twice, on whatever host below a folder; one that is held stands still. */
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
      const uids = await this.#running(root);
      for (const uid of uids) if (uids.filter((other) => other === uid).length > 1) this.#violations.add(uid);
      this.#looks++;
      await sleep(EVERY_MS);
    }
  }

  async #running(root: string): Promise<string[]> {
    const qemus = await findQemus(root);
    const still = async (pid: number) => (await isStopped(pid)) || (await isEnding(pid));
    const stopped = await Promise.all(qemus.map(({ pid }) => still(pid)));
    return qemus.filter((_, index) => stopped[index] === false).map(({ folder }) => folder.split("/").at(-1) ?? "");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped.abort();
    await this.#looking;
  }
}

/**
 * Whether a container's group, if there is one, runs something of its own: what is killed while it is frozen is thawed to
 * end, and comes back to its program no more.
 */
export async function runsIn(group: ControlGroup | undefined): Promise<boolean> {
  if (group === undefined) return false;
  try {
    if (isFrozen(group)) return false;
    const ending = await Promise.all(processesIn(group).map(isEnding));
    return ending.includes(false);
  } catch (error) {
    if (isThere(group)) throw error;
    return false;
  }
}
