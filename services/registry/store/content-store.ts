import { LRUCache } from "lru-cache";
import type { ByteSource } from "./byte-source.ts";
import { keys } from "./keys.ts";
import type { ObjectStore, OpenObject } from "./object-store.ts";

const CACHED_BYTES = 32 * 2 ** 20;
/** Manifests are mostly smaller; the rest of the cache is for more of them. */
const LARGEST_CACHED_BYTES = 2 ** 20;
/** Blobs of this size are configs and the like, asked for again and again. */
const SMALL_BLOB_BYTES = 2 ** 16;

/**
 * All content by digest, of all repositories. Whether a repository has it is never asked here but of its links, which
 * are read each time: only then may content come out of the cache.
 */
export class ContentStore {
  readonly #objects: ObjectStore;
  readonly #cache = new LRUCache<string, Buffer>({
    maxSize: CACHED_BYTES,
    maxEntrySize: LARGEST_CACHED_BYTES,
    sizeCalculation: (bytes) => bytes.length + 200,
  });

  constructor(objects: ObjectStore) {
    this.#objects = objects;
  }

  /** Size in bytes as the store has it now; undefined when it is not there. */
  async size(digest: string): Promise<number | undefined> {
    return (await this.#objects.head(keys.content(digest)))?.sizeBytes;
  }

  async open(digest: string, sizeBytes: number): Promise<OpenObject> {
    if (sizeBytes <= SMALL_BLOB_BYTES) return inMemory(await this.read(digest));
    return (await this.#objects.open(keys.content(digest))) ?? missing(digest);
  }

  /** The whole of something small, such as a manifest. */
  async read(digest: string): Promise<Buffer> {
    const cached = this.#cache.get(digest);
    if (cached !== undefined) return cached;
    const { bytes } = (await this.#objects.read(keys.content(digest))) ?? missing(digest);
    this.#cache.set(digest, bytes);
    return bytes;
  }

  /** Stores bytes whose digest was verified. */
  async put(bytes: Uint8Array, digest: string): Promise<void> {
    if ((await this.size(digest)) !== bytes.length) await this.#objects.put(keys.content(digest), bytes);
  }

  /** Deletes content that no repository has. For collection. */
  async remove(digests: readonly string[]): Promise<void> {
    for (const digest of digests) this.#cache.delete(digest);
    await this.#objects.delete(digests.map(keys.content));
  }

  /** Streams content in; `accept` verifies the digest. */
  async receive(digest: string, body: ByteSource, accept: () => void): Promise<number> {
    return await this.#objects.receive(keys.content(digest), body, accept);
  }

  /** Makes content of pieces, whose digest was verified together; they are gone then. */
  async assemble(pieces: readonly string[], digest: string, sizeBytes: number): Promise<void> {
    if ((await this.size(digest)) === sizeBytes) return await this.#objects.delete(pieces);
    await this.#objects.assemble(pieces, keys.content(digest));
    const stored = await this.size(digest);
    if (stored !== sizeBytes) throw new Error(`${digest} has ${stored} bytes in the store instead of ${sizeBytes}`);
  }
}

function inMemory(bytes: Buffer): OpenObject {
  return {
    sizeBytes: bytes.length,
    async send({ offset, length }, to) {
      to.write(bytes.subarray(offset, offset + length));
    },
    async *pieces() {
      yield bytes;
    },
    async [Symbol.asyncDispose]() {},
  };
}

function missing(digest: string): never {
  throw new Error(`the store has lost ${digest}`);
}
