import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { GetObjectCommand } from "@aws-sdk/client-s3";
import { OciError } from "../domain/oci-error.ts";
import type { OpenObject, Part } from "./object-store.ts";
import { answered } from "./s3-client.ts";
import type { Bucket } from "./s3-multipart.ts";

/** An object of S3 that is being read, by ranged requests. */
export class S3Reader implements OpenObject {
  readonly #bucket: Bucket;
  readonly #key: string;
  readonly sizeBytes: number;

  constructor(bucket: Bucket, key: string, sizeBytes: number) {
    this.#bucket = bucket;
    this.#key = key;
    this.sizeBytes = sizeBytes;
  }

  async send(part: Part, to: Writable): Promise<void> {
    for await (const bytes of this.#read(part)) {
      if (!to.write(bytes)) await drained(to);
    }
  }

  pieces(): AsyncIterable<Buffer> {
    return this.#read({ offset: 0, length: this.sizeBytes });
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  /** A body that breaks off is taken up again where it was, as long as each attempt brings some of it. */
  async *#read({ offset, length }: Part): AsyncGenerator<Buffer> {
    for (let done = 0; done < length; ) {
      const before = done;
      const rest = await this.#body({ offset: offset + done, length: length - done });
      try {
        for await (const bytes of rest) {
          done += bytes.length;
          yield bytes;
        }
      } catch (cause) {
        if (done === before) throw new OciError("UNAVAILABLE", "the object store breaks off", { cause });
      }
      if (done === before) throw new OciError("UNAVAILABLE", `the object store ends ${this.#key} too early`);
    }
  }

  async #body({ offset, length }: Part): Promise<Readable> {
    const Range = `bytes=${offset}-${offset + length - 1}`;
    const { client, bucket } = this.#bucket;
    const { Body } = await answered(client.send(new GetObjectCommand({ Bucket: bucket, Key: this.#key, Range })));
    return Body as Readable;
  }
}

async function drained(to: Writable): Promise<void> {
  if (to.destroyed) throw new Error("the client went away");
  const ended = new AbortController();
  const closed = once(to, "close", { signal: ended.signal }).then(() => {
    throw new Error("the client went away");
  });
  try {
    await Promise.race([once(to, "drain", { signal: ended.signal }), closed]);
  } finally {
    ended.abort();
    closed.catch(() => {});
  }
}
