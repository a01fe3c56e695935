import { createReadStream } from "node:fs";
import { open, rm, stat } from "node:fs/promises";
import { type ByteSource, PiecesSource } from "./byte-source.ts";
import { DurableFolder } from "./durable-folder.ts";
import { listFiles } from "./list-files.ts";
import type { ListOptions, ObjectFacts, ObjectStore, OpenObject, StoredObject } from "./object-store.ts";
import { receive } from "./receive.ts";
import { sendFile } from "./send-file.ts";
import { SmallFiles } from "./small-files.ts";
import { absentAsUndefined, asFsRefusal } from "./storage-errors.ts";
import { TurnBuffers } from "./turn-buffers.ts";

/** Objects as files of a folder, which several processes and hosts may share; keys are the paths in it. */
export class FsObjects implements ObjectStore {
  readonly #files: DurableFolder;
  readonly #buffers = new TurnBuffers();
  readonly #small = new SmallFiles();

  private constructor(files: DurableFolder) {
    this.#files = files;
  }

  /** Opens a folder, which is made when it is missing. */
  static async open(root: string): Promise<FsObjects> {
    return new FsObjects(await DurableFolder.open(root));
  }

  async put(key: string, bytes: Uint8Array | string): Promise<void> {
    await this.#publish(key, async (temporary) => {
      await using file = await open(temporary, "wx", 0o600);
      await file.writeFile(bytes);
      await file.datasync();
    });
  }

  async read(key: string): Promise<StoredObject | undefined> {
    return await this.#small.read(this.#path(key));
  }

  async head(key: string): Promise<ObjectFacts | undefined> {
    const status = await stat(this.#path(key)).catch(absentAsUndefined);
    return status?.isFile() ? { sizeBytes: status.size, modifiedTime: status.mtime } : undefined;
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) await this.#files.remove(this.#path(key));
  }

  async list(prefix: string, { after = "", limit = Number.POSITIVE_INFINITY }: ListOptions = {}): Promise<string[]> {
    const keys: string[] = [];
    if (limit <= 0) return keys;
    for await (const key of listFiles(this.#files.path(), prefix, after)) {
      keys.push(key);
      if (keys.length >= limit) break;
    }
    return keys;
  }

  async *listBefore(prefix: string, before: Date): AsyncIterable<string> {
    for await (const key of listFiles(this.#files.path(), prefix, "")) {
      const facts = await this.head(key);
      if (facts !== undefined && facts.modifiedTime < before) yield key;
    }
  }

  async receive(key: string, body: ByteSource, accept?: () => void): Promise<number> {
    let sizeBytes = 0;
    await this.#publish(key, async (temporary) => {
      using taken = this.#buffers.take();
      sizeBytes = await receive(body, temporary, taken.pair);
      accept?.();
    });
    return sizeBytes;
  }

  async assemble(keys: readonly string[], target: string): Promise<void> {
    const [only, ...more] = keys;
    if (only === undefined) return await this.put(target, "");
    if (more.length > 0) {
      await this.receive(target, new PiecesSource(this.#joined(keys)));
      return await this.delete(keys);
    }
    try {
      await this.#files.publish(this.#path(only), this.#path(target));
    } catch (error) {
      // Whoever was quicker with the same has moved it.
      if ((await this.head(target)) === undefined) throw asFsRefusal(error);
    }
  }

  async open(key: string): Promise<OpenObject | undefined> {
    const file = await open(this.#path(key), "r").catch(absentAsUndefined);
    if (file === undefined) return undefined;
    const { size } = await file.stat();
    return {
      sizeBytes: size,
      send: (part, to) => sendFile(file, part, { to, buffers: this.#buffers }),
      pieces: () => file.createReadStream({ autoClose: false, highWaterMark: 2 ** 20 }),
      [Symbol.asyncDispose]: () => file.close(),
    };
  }

  async sweep(before: Date): Promise<void> {
    await this.#files.clearTemporary(before);
  }

  async *#joined(keys: readonly string[]): AsyncIterable<Buffer> {
    for (const key of keys) yield* createReadStream(this.#path(key), { highWaterMark: 2 ** 20 });
  }

  /** Has a temporary file made, and makes it the object. Nothing stays behind when that fails. */
  async #publish(key: string, make: (temporary: string) => Promise<void>): Promise<void> {
    const temporary = this.#files.temporaryPath();
    try {
      await make(temporary);
      await this.#files.publish(temporary, this.#path(key));
    } catch (error) {
      await rm(temporary, { force: true });
      throw asFsRefusal(error);
    }
  }

  #path(key: string): string {
    return this.#files.path(key);
  }
}
