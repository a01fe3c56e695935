import type { Writable } from "node:stream";
import type { ByteSource } from "./byte-source.ts";

export interface ObjectFacts {
  readonly sizeBytes: number;
  /** When it was written last, by the store's clock. */
  readonly modifiedTime: Date;
}

export interface StoredObject extends ObjectFacts {
  readonly bytes: Buffer;
}

/** A part of an object in bytes. */
export interface Part {
  readonly offset: number;
  readonly length: number;
}

/** An object that is being read; it stays readable though it is deleted meanwhile. */
export interface OpenObject extends AsyncDisposable {
  readonly sizeBytes: number;
  /** Writes a part to `to`, which is not ended; fails when it is destroyed. */
  send(part: Part, to: Writable): Promise<void>;
  /** The content from its beginning. A piece is valid until the next is asked for. */
  pieces(): AsyncIterable<Buffer>;
}

export interface ListOptions {
  /** Only keys that stand after this one. */
  readonly after?: string | undefined;
  readonly limit?: number | undefined;
}

/**
 * Where the registry keeps everything. A key is a path of components that are made from checked names and digests
 * (`[A-Za-z0-9._!-]`); no key is another's folder.
 *
 * Once a write has returned it survives the loss of power, and every replica sees it at once. An object appears whole
 * or not at all; of two writers of a key the last one wins. There is no other order between writers: whatever needs
 * one writes first and then reads what the other may have written.
 *
 * Everything fails with an OciError: 503 when the store gives no answer in time, 507 when it is full.
 */
export interface ObjectStore {
  /** Writes a small object. */
  put(key: string, bytes: Uint8Array | string): Promise<void>;
  /** A small object as it is now; undefined when there is none. Its bytes are shared: they are not changed. */
  read(key: string): Promise<StoredObject | undefined>;
  head(key: string): Promise<ObjectFacts | undefined>;
  /** Deletes what is there of these; that something is missing is no failure. */
  delete(keys: readonly string[]): Promise<void>;
  /** The keys with a prefix, in the order of their UTF-16 code units. */
  list(prefix: string, options?: ListOptions): Promise<string[]>;
  /** The keys with a prefix of the objects that were written last before then, in no order. */
  listBefore(prefix: string, before: Date): AsyncIterable<string>;

  /**
   * Streams an object of any size in. `accept` runs after the last byte and before the object is visible; when it, or
   * the body, fails, nothing is. Answers the size in bytes.
   */
  receive(key: string, body: ByteSource, accept?: () => void): Promise<number>;
  /** Makes an object of any size of others, in order, and deletes them. Whole or not at all; may be repeated. */
  assemble(keys: readonly string[], target: string): Promise<void>;
  open(key: string): Promise<OpenObject | undefined>;
  /** Removes what was begun before then and never finished. It is visible in no other way. */
  sweep(before: Date): Promise<void>;
}
