import { randomUUID } from "node:crypto";
import { mkdir, open, readdir, rename, rm, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { absentAsUndefined, isAbsent } from "./storage-errors.ts";

interface Turn {
  readonly current: Promise<void>;
  next?: Promise<void>;
}

/**
 * A folder of files that appear whole or not at all and survive a power cut once a call has returned: temporary
 * file, fsync, rename, fsync of the parent.
 */
export class DurableFolder {
  readonly #root: string;
  readonly #syncing = new Map<string, Turn>();

  private constructor(root: string) {
    this.#root = root;
  }

  static async open(root: string): Promise<DurableFolder> {
    await mkdir(join(root, "tmp"), { recursive: true, mode: 0o700 });
    return new DurableFolder(root);
  }

  /** The path of a file in this folder. */
  path(...parts: readonly string[]): string {
    return [this.#root, ...parts].join("/");
  }

  /** A new name for a file in the making. */
  temporaryPath(): string {
    return this.path("tmp", randomUUID());
  }

  /** Moves a file that is already synced to its place. */
  async publish(from: string, to: string): Promise<void> {
    await this.#inFolder(dirname(to), () => rename(from, to));
  }

  /** Removes a file, if it is there. */
  async remove(path: string): Promise<void> {
    try {
      await unlink(path);
    } catch (error) {
      if (isAbsent(error)) return;
      throw error;
    }
    await this.#sync(dirname(path));
  }

  /** Removes files in the making that nobody has touched since. */
  async clearTemporary(before: Date): Promise<void> {
    for (const name of await readdir(this.path("tmp"))) {
      const status = await stat(this.path("tmp", name)).catch(absentAsUndefined);
      if (status !== undefined && status.mtime < before) await rm(this.path("tmp", name), { force: true });
    }
  }

  /** Changes a folder, which is made when it is missing, and syncs it. */
  async #inFolder(folder: string, change: () => Promise<void>): Promise<void> {
    try {
      await change();
    } catch (error) {
      if (!isAbsent(error)) throw error;
      const first = await mkdir(folder, { recursive: true, mode: 0o700 });
      for (const parent of first === undefined ? [] : foldersAbove(folder, dirname(first))) await this.#sync(parent);
      await change();
    }
    await this.#sync(folder);
  }

  /** Syncs a folder; calls that come while it is being synced share the next turn. */
  async #sync(folder: string): Promise<void> {
    const turn = this.#syncing.get(folder);
    if (turn === undefined) return await this.#startTurn(folder);
    turn.next ??= turn.current.catch(() => {}).then(() => this.#startTurn(folder));
    await turn.next;
  }

  async #startTurn(folder: string): Promise<void> {
    const current = syncFolder(folder);
    const turn: Turn = { current };
    this.#syncing.set(folder, turn);
    try {
      await current;
    } finally {
      if (turn.next === undefined && this.#syncing.get(folder) === turn) this.#syncing.delete(folder);
    }
  }
}

async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, "r");
  await folder.sync();
}

function foldersAbove(bottom: string, top: string): string[] {
  const folder = dirname(bottom);
  return folder === top || folder === bottom ? [folder] : [folder, ...foldersAbove(folder, top)];
}
