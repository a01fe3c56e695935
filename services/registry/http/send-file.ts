import type { FileHandle } from "node:fs/promises";
import type { ServerResponse } from "node:http";

const BUFFER_BYTES = 2 ** 20;

/**
 * Sends a part of a file and closes it. Two buffers take turns, one is read while the other is on its way: with 1 MiB
 * each this is as fast as sendfile, and three times as fast as a stream with its 64 KiB.
 */
export async function sendFile(
  file: FileHandle,
  { offset, length }: { readonly offset: number; readonly length: number },
  response: ServerResponse,
): Promise<void> {
  await using opened = file;
  const bufferBytes = Math.min(length, BUFFER_BYTES);
  const [even, odd] = [Buffer.allocUnsafe(bufferBytes), Buffer.allocUnsafe(length > bufferBytes ? bufferBytes : 0)];
  let sending: Promise<void> = Promise.resolve();
  for (let done = 0, turn = 0; done < length; turn += 1) {
    const buffer = turn % 2 === 0 ? even : odd;
    const wanted = Math.min(bufferBytes, length - done);
    const { bytesRead } = await opened.read(buffer, 0, wanted, offset + done);
    if (bytesRead === 0) throw new Error("a stored blob is shorter than it was");
    await sending;
    sending = send(response, buffer.subarray(0, bytesRead));
    sending.catch(() => {});
    done += bytesRead;
  }
  await sending;
  response.end();
}

/** Resolves when the bytes were handed to the system and the buffer is free again. */
function send(response: ServerResponse, bytes: Buffer): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  response.write(bytes, (error) => (error ? reject(error) : resolve()));
  return promise;
}
