import { access, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { eventually } from "#libs/testing";

/** What an armed failpoint does, in the words of STILLPOINT_FAILPOINTS. */
export type FailpointAction = "kill" | "pause" | "throw" | `delay:${number}` | `block:${number}`;

/**
 * Arms failpoints in processes that run already. Each acts once, and is kept quiet by a marker file as long as that
 * exists: arming one removes its marker, and the process that comes by there writes it again.
 */
export class FailpointSwitch {
  readonly #folder: string;
  /** The value of STILLPOINT_FAILPOINTS for every process. */
  readonly specification: string;

  private constructor(folder: string, specification: string) {
    this.#folder = folder;
    this.specification = specification;
  }

  static async create(folder: string, actions: Readonly<Record<string, FailpointAction>>): Promise<FailpointSwitch> {
    await mkdir(folder, { recursive: true });
    for (const name of Object.keys(actions)) await writeFile(join(folder, name), "");
    const entries = Object.entries(actions).map(([name, action]) => `${name}=${action}@once:${join(folder, name)}`);
    return new FailpointSwitch(folder, entries.join(";"));
  }

  /** The next process that comes by there acts, once. */
  async arm(name: string): Promise<void> {
    // Nobody may have come by since it was armed before.
    await rm(join(this.#folder, name), { force: true });
  }

  /** Quiet again, if nobody came by. */
  async disarm(name: string): Promise<void> {
    await writeFile(join(this.#folder, name), "");
  }

  /** Waits until a process has come by an armed point; with a delay, it is there still. */
  async untilFired(name: string, deadlineMs = 30_000): Promise<void> {
    await eventually(() => access(join(this.#folder, name)).then(() => true), { deadlineMs });
  }
}
