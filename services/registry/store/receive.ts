import { open } from "node:fs/promises";

const BATCH_BYTES = 2 ** 20;

/**
 * Writes a body to a new file in batches of 1 MiB, taking in one while the last is written, and syncs it. Answers the
 * number of bytes.
 */
export async function receive(body: AsyncIterable<Buffer>, path: string): Promise<number> {
  await using file = await open(path, "wx", 0o600);
  let received = 0;
  let batch: Buffer[] = [];
  let batchBytes = 0;
  let writing: Promise<unknown> = Promise.resolve();
  const flush = async () => {
    const pieces = batch;
    const position = received - batchBytes;
    [batch, batchBytes] = [[], 0];
    await writing;
    writing = file.writev(pieces, position);
    writing.catch(() => {});
  };
  try {
    for await (const piece of body) {
      received += piece.length;
      batchBytes += piece.length;
      batch.push(piece);
      if (batchBytes >= BATCH_BYTES) await flush();
    }
    if (batchBytes > 0) await flush();
  } finally {
    await writing;
  }
  await file.datasync();
  const { size } = await file.stat();
  if (size !== received) throw new Error(`a file has ${size} bytes instead of ${received}`);
  return received;
}
