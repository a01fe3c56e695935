import type { Hash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import type { Readable } from "node:stream";
import { OciError } from "../domain/oci-error.ts";

const BATCH_BYTES = 2 ** 20;

/**
 * Writes a request's body to a file from `position` on, in batches of 1 MiB, hashing one while the last is written.
 * Answers the number of bytes. Fails when the client goes away.
 * @throws OciError SIZE_INVALID (413) beyond `maxBytes`
 */
export async function receive(
  body: Readable,
  { file, position, hash, maxBytes }: { file: FileHandle; position: number; hash: Hash; maxBytes: number },
): Promise<number> {
  let received = 0;
  let batch: Buffer[] = [];
  let batchBytes = 0;
  let writing: Promise<unknown> = Promise.resolve();
  const flush = async () => {
    const [pieces, at] = [batch, position + received - batchBytes];
    [batch, batchBytes] = [[], 0];
    await writing;
    writing = file.writev(pieces, at);
    writing.catch(() => {});
  };
  // The connection outlives a body that is too long, so that it can be told.
  for await (const piece of body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    received += piece.length;
    batchBytes += piece.length;
    if (received > maxBytes) {
      await writing;
      throw new OciError("SIZE_INVALID", `a blob may have ${maxBytes} bytes`, { status: 413 });
    }
    batch.push(piece);
    hash.update(piece);
    if (batchBytes >= BATCH_BYTES) await flush();
  }
  if (batchBytes > 0) await flush();
  await writing;
  return received;
}
