import { type FileHandle, open } from "node:fs/promises";
import type { ByteSource } from "./byte-source.ts";

/**
 * Writes a body to a new file, taking in one buffer while the other is written, and syncs it. Answers the number of
 * bytes.
 */
export async function receive(body: ByteSource, path: string, buffers: readonly [Buffer, Buffer]): Promise<number> {
  await using file = await open(path, "wx", 0o600);
  let [filling, other] = buffers;
  let position = 0;
  let writing: Promise<void> = Promise.resolve();
  try {
    for (let filled = filling.length; filled === filling.length; ) {
      filled = await body.fill(filling);
      await writing;
      writing = writeAll(file, filling.subarray(0, filled), position);
      writing.catch(() => {});
      position += filled;
      [filling, other] = [other, filling];
    }
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
