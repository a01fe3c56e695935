import type { FileHandle } from "node:fs/promises";
import type { Writable } from "node:stream";
import type { Part } from "./object-store.ts";
import type { TurnBuffers } from "./turn-buffers.ts";

/** One read of this size is quicker than anything with turns. */
const SMALL_BYTES = 65_536;

/**
 * Sends a part of a file; it is on its way when this resolves, and the file may be closed. Two buffers take turns, one
 * is read while the other is on its way: with 1 MiB each this is as fast as sendfile, and three times as fast as a
 * stream with its 64 KiB.
 */
export async function sendFile(
  file: FileHandle,
  part: Part,
  { to, buffers }: { to: Writable; buffers: TurnBuffers },
): Promise<void> {
  if (part.length <= SMALL_BYTES) {
    const buffer = Buffer.allocUnsafe(part.length);
    await readAll(file, buffer, part.offset);
    to.write(buffer);
    return;
  }
  using taken = buffers.take();
  await sendInTurns(file, part, to, taken.pair);
}

async function sendInTurns(
  file: FileHandle,
  { offset, length }: Part,
  to: Writable,
  buffers: readonly Buffer[],
): Promise<void> {
  let sending: Promise<void> = Promise.resolve();
  try {
    for (let done = 0, turn = 0; done < length; turn += 1) {
      const buffer = buffers[turn % buffers.length] ?? Buffer.alloc(0);
      const piece = buffer.subarray(0, Math.min(buffer.length, length - done));
      await readAll(file, piece, offset + done);
      await sending;
      sending = write(to, piece);
      sending.catch(() => {});
      done += piece.length;
    }
  } finally {
    // No buffer is given back that is still on its way.
    await sending;
  }
}

async function readAll(file: FileHandle, buffer: Buffer, position: number): Promise<void> {
  for (let read = 0; read < buffer.length; ) {
    const { bytesRead } = await file.read(buffer, read, buffer.length - read, position + read);
    if (bytesRead === 0) throw new Error("a stored blob is shorter than it was");
    read += bytesRead;
  }
}

/** Resolves when the bytes were handed to the system and the buffer is free again. */
function write(to: Writable, bytes: Buffer): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  to.write(bytes, (error) => (error ? reject(error) : resolve()));
  return promise;
}
