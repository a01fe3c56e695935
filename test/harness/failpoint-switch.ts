import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * Arms failpoints in processes that run already. Each is set to kill once, by a marker file that keeps it quiet while
 * it exists; arming one removes its marker.
 */
export class FailpointSwitch {
  readonly #folder: string;
  /** The value of STILLPOINT_FAILPOINTS for every process. */
  readonly specification: string;

  private constructor(folder: string, names: readonly string[]) {
    this.#folder = folder;
    this.specification = names.map((name) => `${name}=kill@once:${join(folder, name)}`).join(";");
  }

  static async create(folder: string, names: readonly string[]): Promise<FailpointSwitch> {
    await mkdir(folder, { recursive: true });
    for (const name of names) await writeFile(join(folder, name), "");
    return new FailpointSwitch(folder, names);
  }

  /** The next process that comes by dies there, once. */
  async arm(name: string): Promise<void> {
    await rm(join(this.#folder, name));
  }

  /** Quiet again, if it has not fired. */
  async disarm(name: string): Promise<void> {
    await writeFile(join(this.#folder, name), "");
  }
}
