import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { WallClock } from "./wall-clock.ts";

/** The wall clocks of processes that we start, each wrong in its own way. */
export class WallClocks {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** @param folder is made */
  static async create(folder: string): Promise<WallClocks> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return new WallClocks(folder);
  }

  /** For the environment of a process by that name. */
  envOf(name: string): Readonly<Record<string, string>> {
    const module = join(import.meta.dirname, "wall-clock.ts");
    return { NODE_OPTIONS: `--import ${module}`, STILLPOINT_CLOCK_FILE: join(this.#folder, name) };
  }

  /** From now on, within 50 ms. @param clock right where it is unsaid */
  async set(name: string, { aheadMs = 0, rate = 1 }: Partial<Omit<WallClock, "sinceMs">> = {}): Promise<void> {
    const clock: WallClock = { aheadMs, rate, sinceMs: Date.now() };
    const path = join(this.#folder, name);
    await writeFile(`${path}.new`, JSON.stringify(clock));
    await rename(`${path}.new`, path);
  }
}
