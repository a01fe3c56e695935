import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { type Digest, digestOf } from "./digest.ts";

/** Bytes that can be sent again when the first attempt fails. */
export interface BlobSource {
  readonly digest: Digest;
  readonly sizeBytes: number;
  open(): Readable | Uint8Array;
}

export function bytesSource(bytes: Uint8Array): BlobSource {
  return { digest: digestOf(bytes), sizeBytes: bytes.length, open: () => bytes };
}

/** A whole file, which is read once for its digest and again to be sent; it must not change in between. */
export async function fileSource(path: string, signal?: AbortSignal): Promise<BlobSource> {
  const { size } = await stat(path);
  const hash = createHash("sha256");
  await pipeline(createReadStream(path, { highWaterMark: 2 ** 20 }), hash, signal === undefined ? {} : { signal });
  const open = () => createReadStream(path, { highWaterMark: 2 ** 20 });
  return { digest: `sha256:${hash.digest("hex")}`, sizeBytes: size, open };
}
