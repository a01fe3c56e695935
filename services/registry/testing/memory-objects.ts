import type { ListOptions, ObjectFacts, ObjectStore, OpenObject, StoredObject } from "../store/object-store.ts";

/** Small objects in memory, for tests; `turn` runs before and after whatever is done to them. */
export class MemoryObjects implements ObjectStore {
  readonly #objects: Map<string, Buffer>;
  readonly #turn: (what: string) => Promise<void>;

  constructor(objects: Map<string, Buffer>, turn: (what: string) => Promise<void> = async () => {}) {
    this.#objects = objects;
    this.#turn = turn;
  }

  async put(key: string, bytes: Uint8Array | string): Promise<void> {
    await this.#turn(`put ${key}`);
    this.#objects.set(key, Buffer.from(bytes));
    await this.#turn(`done ${key}`);
  }

  async read(key: string): Promise<StoredObject | undefined> {
    await this.#turn(`read ${key}`);
    const bytes = this.#objects.get(key);
    return bytes && { bytes, sizeBytes: bytes.length, modifiedTime: new Date(0) };
  }

  async head(key: string): Promise<ObjectFacts | undefined> {
    return await this.read(key);
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      await this.#turn(`delete ${key}`);
      this.#objects.delete(key);
    }
  }

  async list(prefix: string, { after = "", limit = Number.POSITIVE_INFINITY }: ListOptions = {}): Promise<string[]> {
    await this.#turn(`list ${prefix}`);
    const found = [...this.#objects.keys()].filter((key) => key.startsWith(prefix) && key > after);
    return found.sort().slice(0, limit);
  }

  async *listBefore(): AsyncIterable<string> {}

  async receive(): Promise<number> {
    throw new Error("only small objects are in memory");
  }

  async assemble(): Promise<void> {
    throw new Error("only small objects are in memory");
  }

  async open(): Promise<OpenObject | undefined> {
    throw new Error("only small objects are in memory");
  }

  async sweep(): Promise<void> {}
}
