import { type FileHandle, open } from "node:fs/promises";
import { countSpent } from "./spent-buffers.ts";

/**
 * Writes a body to a new file, taking in one buffer while the other is written, and syncs it. The bytes are copied, so
 * that what the network gave is garbage at once: kept until it is written, it would outlive the quick collections.
 * Answers the number of bytes.
 */
export async function receive(
  body: AsyncIterable<Buffer>,
  path: string,
  buffers: readonly [Buffer, Buffer],
): Promise<number> {
  await using file = await open(path, "wx", 0o600);
  let [filling, other] = buffers;
  let filled = 0;
  let position = 0;
  let writing: Promise<void> = Promise.resolve();
  const flush = async () => {
    await writing;
    writing = writeAll(file, filling.subarray(0, filled), position);
    writing.catch(() => {});
    position += filled;
    countSpent(filled);
    filled = 0;
    [filling, other] = [other, filling];
  };
  try {
    for await (const piece of body) {
      for (let taken = 0; taken < piece.length; ) {
        const copied = piece.copy(filling, filled, taken);
        filled += copied;
        taken += copied;
        if (filled === filling.length) await flush();
      }
    }
    if (filled > 0) await flush();
  } finally {
    // No buffer is given back that is still being written.
    await writing;
  }
  await file.datasync();
  return position;
}

async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}
