import { rm, writeFile } from "node:fs/promises";

const RESERVE_BYTES = 4 * 2 ** 20;

/**
 * Room on the host's disk that is given up for what has to be written when there is none left: a manifest that cannot
 * be written would leave a VM between two states.
 */
export class Reserve {
  readonly #path: string;
  #isKept = false;

  private constructor(path: string) {
    this.#path = path;
  }

  /** Keeps the room in a file of its own, as soon as there is some. */
  static async open(path: string): Promise<Reserve> {
    const reserve = new Reserve(path);
    await reserve.#keep();
    return reserve;
  }

  /** Runs a write; on a full disk once more, in the room that was kept. `write` must be repeatable. */
  async spend(write: () => Promise<void>): Promise<void> {
    try {
      await write();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
      this.#isKept = false;
      await rm(this.#path, { force: true });
      await write();
      return;
    }
    if (!this.#isKept) await this.#keep();
  }

  async #keep(): Promise<void> {
    try {
      await writeFile(this.#path, Buffer.alloc(RESERVE_BYTES, 1), { mode: 0o600 });
      this.#isKept = true;
    } catch {
      await rm(this.#path, { force: true });
    }
  }
}
