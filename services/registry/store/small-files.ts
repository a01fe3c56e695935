import { type Stats, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { LRUCache } from "lru-cache";
import type { StoredObject } from "./object-store.ts";
import { absentAsUndefined } from "./storage-errors.ts";

const CACHED_BYTES = 16 * 2 ** 20;
const LARGEST_CACHED_BYTES = 4_096;
/** What one entry takes besides its bytes. */
const ENTRY_BYTES = 500;
/** File systems tell times in steps: what was written so lately may be written again in the same step. */
const SETTLED_AFTER_MS = 1_000;

/**
 * Reads small files, and those that have not changed since the last time without reading them again. Files are only
 * ever replaced whole, so that another content is another inode or time: one look at the file's status tells, whoever
 * has written it. That look is not handed to another thread: the kernel answers it from memory in 2 microseconds, and a
 * turn of the thread pool takes 40.
 */
export class SmallFiles {
  readonly #cache = new LRUCache<string, { readonly object: StoredObject; readonly status: Stats }>({
    maxSize: CACHED_BYTES,
    maxEntrySize: LARGEST_CACHED_BYTES,
    sizeCalculation: ({ object }) => object.bytes.length + ENTRY_BYTES,
  });

  async read(path: string): Promise<StoredObject | undefined> {
    const cached = this.#cache.get(path);
    if (cached === undefined) return await this.#readNow(path);
    const status = statSync(path, { throwIfNoEntry: false });
    if (status !== undefined && isSame(status, cached.status)) return cached.object;
    this.#cache.delete(path);
    return status && (await this.#readNow(path));
  }

  async #readNow(path: string): Promise<StoredObject | undefined> {
    await using file = await open(path, "r").catch(absentAsUndefined);
    if (file === undefined) return undefined;
    const status = await file.stat();
    const bytes = await file.readFile();
    const object = { bytes, sizeBytes: bytes.length, modifiedTime: status.mtime };
    if (Date.now() - status.ctimeMs > SETTLED_AFTER_MS) this.#cache.set(path, { object, status });
    return object;
  }
}

function isSame(a: Stats, b: Stats): boolean {
  return a.ino === b.ino && a.ctimeMs === b.ctimeMs && a.mtimeMs === b.mtimeMs && a.size === b.size;
}
