import { OciError } from "../domain/oci-error.ts";
import type { ByteSource } from "./byte-source.ts";
import { keys } from "./keys.ts";
import type { ListOptions, ObjectFacts, ObjectStore, OpenObject, StoredObject } from "./object-store.ts";

const RESERVES = Array.from({ length: 8 }, (_, place) => keys.reserve(place));
const RESERVE_BYTES = 128 * 2 ** 10;

/**
 * Objects of which some are there for their size alone: to delete something, its deletion has to be written down, and
 * when the store is full a reserve makes room for that. Otherwise a full store could never be emptied.
 */
export class ReservedObjects implements ObjectStore {
  readonly #objects: ObjectStore;

  constructor(objects: ObjectStore) {
    this.#objects = objects;
  }

  /** Makes the reserves that are missing, as long as there is room. */
  async replenish(): Promise<void> {
    const there = new Set(await this.#objects.list(keys.reserves));
    for (const key of RESERVES) {
      if (!there.has(key)) await this.#objects.put(key, Buffer.alloc(RESERVE_BYTES));
    }
  }

  async put(key: string, bytes: Uint8Array | string): Promise<void> {
    try {
      await this.#objects.put(key, bytes);
    } catch (error) {
      if (!isFull(error) || !mayUseReserves(key)) throw error;
      await this.#putInstead(key, bytes, error);
    }
  }

  async #putInstead(key: string, bytes: Uint8Array | string, full: unknown): Promise<void> {
    for (const reserve of await this.#objects.list(keys.reserves)) {
      await this.#objects.delete([reserve]);
      try {
        return await this.#objects.put(key, bytes);
      } catch (error) {
        if (!isFull(error)) throw error;
      }
    }
    throw full;
  }

  async read(key: string): Promise<StoredObject | undefined> {
    return await this.#objects.read(key);
  }

  async head(key: string): Promise<ObjectFacts | undefined> {
    return await this.#objects.head(key);
  }

  async delete(deleted: readonly string[]): Promise<void> {
    await this.#objects.delete(deleted);
  }

  async list(prefix: string, options?: ListOptions): Promise<string[]> {
    return await this.#objects.list(prefix, options);
  }

  listBefore(prefix: string, before: Date): AsyncIterable<string> {
    return this.#objects.listBefore(prefix, before);
  }

  async receive(key: string, body: ByteSource, accept?: () => void): Promise<number> {
    return await this.#objects.receive(key, body, accept);
  }

  async assemble(pieces: readonly string[], target: string): Promise<void> {
    await this.#objects.assemble(pieces, target);
  }

  async open(key: string): Promise<OpenObject | undefined> {
    return await this.#objects.open(key);
  }

  async sweep(before: Date): Promise<void> {
    await this.#objects.sweep(before);
  }
}

/** What is written to delete something: never what a push writes. */
function mayUseReserves(key: string): boolean {
  return key.startsWith(keys.outboxes) || (key.startsWith("collect/") && !key.startsWith(keys.intents("pushing")));
}

function isFull(error: unknown): boolean {
  return error instanceof OciError && error.status === 507;
}
