import type { FileHandle } from "node:fs/promises";
import { open, readFile, rm } from "node:fs/promises";
import { parseDigest } from "#libs/oci";
import { type DurableFolder, statIfPresent } from "./durable-folder.ts";

/**
 * All content by digest, `blobs/<algorithm>/<ab>/<hex>`, of all repositories. Whether a repository has a blob is
 * never asked here but of its links.
 */
export class ContentStore {
  readonly #files: DurableFolder;

  constructor(files: DurableFolder) {
    this.#files = files;
  }

  /** Size in bytes; undefined when it is not here. */
  async size(digest: string): Promise<number | undefined> {
    return (await statIfPresent(this.#path(digest)))?.size;
  }

  async open(digest: string): Promise<FileHandle> {
    return await open(this.#path(digest), "r");
  }

  async read(digest: string): Promise<Buffer> {
    return await readFile(this.#path(digest));
  }

  /** Takes over a synced file whose digest was verified. */
  async adopt(temporary: string, digest: string, sizeBytes: number): Promise<void> {
    if ((await this.size(digest)) === sizeBytes) await rm(temporary);
    else await this.#files.publish(temporary, this.#path(digest));
  }

  /** Stores bytes whose digest was verified. */
  async put(bytes: Uint8Array, digest: string): Promise<void> {
    if ((await this.size(digest)) === bytes.length) return;
    const temporary = this.#files.temporaryPath();
    await using file = await open(temporary, "wx", 0o600);
    await file.writeFile(bytes);
    await file.datasync();
    await this.#files.publish(temporary, this.#path(digest));
  }

  #path(digest: string): string {
    const parts = parseDigest(digest);
    if (parts === undefined) throw new Error(`not a digest: ${digest}`);
    return this.#files.path("blobs", parts.algorithm, parts.hex.slice(0, 2), parts.hex);
  }
}
