import {
  CopyObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  paginateListObjectsV2,
} from "@aws-sdk/client-s3";
import { OciError } from "../domain/oci-error.ts";
import { type ByteSource, PiecesSource } from "./byte-source.ts";
import { keys as known } from "./keys.ts";
import type { ListOptions, ObjectFacts, ObjectStore, OpenObject, StoredObject } from "./object-store.ts";
import { inParts, PartBuffers } from "./part-buffers.ts";
import {
  answered,
  answeredIfPresent,
  checkBucket,
  createS3Client,
  isNotImplemented,
  refusing,
  type S3Settings,
} from "./s3-client.ts";
import { abortOrphans, type Bucket, copySource, S3Multipart, type SourceRange } from "./s3-multipart.ts";
import { S3Reader } from "./s3-reader.ts";

const MIB = 2 ** 20;
/** Of S3: what all parts but the last must have, and how many there may be. */
const SMALLEST_PART_BYTES = 5 * MIB;
const MOST_PARTS = 10_000;
/** What one request copies; it is answered when the copy is done. */
const COPY_BYTES = 256 * MIB;
const PART_BUFFERS = 12;
const PAGE = 1_000;

export interface S3ObjectsOptions extends S3Settings {
  /** Size of the largest object; parts are made so large that it fits. */
  readonly maxObjectBytes: number;
  /** What one request copies inside the store; S3 allows 5 GB. */
  readonly copyBytes?: number;
}

/** Objects in a bucket of S3 or of what speaks like it. Reads after writes must be consistent, as S3's are. */
export class S3Objects implements ObjectStore {
  readonly #bucket: Bucket;
  readonly #buffers: PartBuffers;
  readonly #copyBytes: number;

  private constructor(bucket: Bucket, { partBytes, copyBytes }: { partBytes: number; copyBytes: number }) {
    this.#bucket = bucket;
    this.#buffers = new PartBuffers({ sizeBytes: partBytes, count: PART_BUFFERS });
    this.#copyBytes = copyBytes;
  }

  /** @throws StillpointError UNAVAILABLE when the bucket cannot be used */
  static async open({ maxObjectBytes, copyBytes = COPY_BYTES, ...settings }: S3ObjectsOptions): Promise<S3Objects> {
    const client = createS3Client(settings);
    await checkBucket(client, settings.bucket);
    const partBytes = Math.max(8 * MIB, Math.ceil(maxObjectBytes / MOST_PARTS / MIB) * MIB);
    return new S3Objects({ client, bucket: settings.bucket }, { partBytes, copyBytes });
  }

  close(): void {
    this.#bucket.client.destroy();
  }

  async put(key: string, bytes: Uint8Array | string): Promise<void> {
    const Body = Buffer.from(bytes);
    await answered(
      this.#bucket.client.send(new PutObjectCommand({ ...this.#name(key), Body, ContentLength: Body.length })),
    );
  }

  async read(key: string): Promise<StoredObject | undefined> {
    const found = await answeredIfPresent(this.#bucket.client.send(new GetObjectCommand(this.#name(key))));
    if (found?.Body === undefined) return undefined;
    const bytes = Buffer.from(await answered(found.Body.transformToByteArray()));
    return { bytes, sizeBytes: bytes.length, modifiedTime: found.LastModified ?? new Date(0) };
  }

  async head(key: string): Promise<ObjectFacts | undefined> {
    const found = await answeredIfPresent(this.#bucket.client.send(new HeadObjectCommand(this.#name(key))));
    return found && { sizeBytes: found.ContentLength ?? 0, modifiedTime: found.LastModified ?? new Date(0) };
  }

  async delete(keys: readonly string[]): Promise<void> {
    const { client, bucket } = this.#bucket;
    for (let start = 0; start < keys.length; start += PAGE) {
      const Objects = keys.slice(start, start + PAGE).map((Key) => ({ Key }));
      const command = new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects, Quiet: true } });
      const { Errors = [] } = await answered(client.send(command));
      const failed = Errors.find(({ Code }) => Code !== "NoSuchKey");
      if (failed !== undefined) throw new OciError("UNAVAILABLE", `the object store does not delete: ${failed.Code}`);
    }
  }

  async list(prefix: string, { after, limit = Number.POSITIVE_INFINITY }: ListOptions = {}): Promise<string[]> {
    const keys: string[] = [];
    if (limit <= 0) return keys;
    for await (const { key } of this.#entries(prefix, after, Math.min(PAGE, limit))) {
      keys.push(key);
      if (keys.length >= limit) break;
    }
    return keys;
  }

  async *listBefore(prefix: string, before: Date): AsyncIterable<string> {
    for await (const { key, modifiedTime } of this.#entries(prefix)) if (modifiedTime < before) yield key;
  }

  async receive(key: string, body: ByteSource, accept?: () => void): Promise<number> {
    using taken = await this.#buffers.take();
    const parts = inParts(body, taken.buffer);
    const first = await parts.next();
    if (first.done !== true && first.value.isLast) {
      accept?.();
      await this.put(key, first.value.bytes);
      return first.value.bytes.length;
    }
    return await this.#inMultipart(key, async (multipart) => {
      let sizeBytes = 0;
      for (let part = first; part.done !== true; part = await parts.next()) {
        sizeBytes += part.value.bytes.length;
        await multipart.send(part.value.bytes);
      }
      accept?.();
      return sizeBytes;
    });
  }

  async assemble(keys: readonly string[], target: string): Promise<void> {
    const sizes = await Promise.all(keys.map(async (key) => (await this.head(key))?.sizeBytes));
    const pieces = keys.map((key, place) => ({ key, sizeBytes: sizes[place] }));
    if (pieces.some(({ sizeBytes }) => sizeBytes === undefined)) {
      // Whoever was quicker with the same has deleted them.
      if ((await this.head(target)) !== undefined) return;
      throw new OciError("BLOB_UPLOAD_UNKNOWN", "parts of the upload are gone");
    }
    await this.#join(
      pieces.map(({ key, sizeBytes = 0 }) => ({ key, offset: 0, length: sizeBytes })),
      target,
    );
    await this.delete(keys);
  }

  async open(key: string): Promise<OpenObject | undefined> {
    const facts = await this.head(key);
    return facts && new S3Reader(this.#bucket, key, facts.sizeBytes);
  }

  async sweep(before: Date): Promise<void> {
    for (const prefix of [known.contents, known.pieces]) await abortOrphans(this.#bucket, prefix, before);
  }

  /** Copies inside the store where its rules allow it; else the bytes come through here. */
  async #join(pieces: readonly SourceRange[], target: string): Promise<void> {
    const [only, ...more] = pieces;
    if (only !== undefined && more.length === 0 && only.length <= this.#copyBytes)
      return await this.#copy(only.key, target);
    const ranges = pieces.flatMap((piece) => inRanges(piece, this.#copyBytes));
    const isAllowed =
      ranges.length <= MOST_PARTS && ranges.slice(0, -1).every(({ length }) => length >= SMALLEST_PART_BYTES);
    if (isAllowed && ranges.length > 0) {
      try {
        await this.#inMultipart(target, async (multipart) => {
          await multipart.copy(ranges);
          return ranges.reduce((sum, { length }) => sum + length, 0);
        });
        return;
      } catch (error) {
        if (!isNotImplemented(error)) throw error;
      }
    }
    await this.receive(target, new PiecesSource(this.#joined(pieces)));
  }

  async #copy(key: string, target: string): Promise<void> {
    const CopySource = copySource(this.#bucket.bucket, key);
    await answered(this.#bucket.client.send(new CopyObjectCommand({ ...this.#name(target), CopySource })));
  }

  async *#joined(pieces: readonly SourceRange[]): AsyncIterable<Buffer> {
    for (const { key, length } of pieces) yield* new S3Reader(this.#bucket, key, length).pieces();
  }

  /** Has an object made of parts, and looks whether it became what it should. Answers its size. */
  async #inMultipart(key: string, make: (multipart: S3Multipart) => Promise<number>): Promise<number> {
    const multipart = await S3Multipart.begin(this.#bucket, key);
    try {
      const sizeBytes = await make(multipart);
      await multipart.complete().catch(async (error: unknown) => {
        // When its answer was lost, the next attempt finds nothing to complete: what is there counts.
        if ((await this.head(key))?.sizeBytes !== sizeBytes) throw error;
      });
      const stored = (await this.head(key))?.sizeBytes;
      if (stored === sizeBytes) return sizeBytes;
      throw new OciError("UNAVAILABLE", `the object store kept ${stored} bytes of ${sizeBytes}`);
    } catch (error) {
      await multipart.abort();
      throw error;
    }
  }

  async *#entries(prefix: string, after?: string, pageSize = PAGE): AsyncIterable<{ key: string; modifiedTime: Date }> {
    const { client, bucket } = this.#bucket;
    const pages = paginateListObjectsV2({ client, pageSize }, { Bucket: bucket, Prefix: prefix, StartAfter: after });
    for await (const page of refusing(pages)) {
      for (const { Key = "", LastModified = new Date(0) } of page.Contents ?? []) {
        yield { key: Key, modifiedTime: LastModified };
      }
    }
  }

  #name(key: string) {
    return { Bucket: this.#bucket.bucket, Key: key };
  }
}

/** Equal parts that one request may copy. */
function inRanges({ key, length }: SourceRange, copyBytes: number): SourceRange[] {
  const step = Math.ceil(length / Math.max(1, Math.ceil(length / copyBytes)));
  const ranges: SourceRange[] = [];
  for (let offset = 0; offset < length; offset += step) {
    ranges.push({ key, offset, length: Math.min(step, length - offset) });
  }
  return ranges;
}
