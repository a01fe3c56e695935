import { createWriteStream } from "node:fs";
import { chmod, chown, open, rm, stat } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { basename, dirname } from "node:path";
import { PassThrough } from "node:stream";
import { finished, pipeline } from "node:stream/promises";
import { constants, createZstdCompress } from "node:zlib";

/**
 * The RAM writer: a process for one RAM capture, which takes QEMU's stream at a unix socket and compresses it into a
 * file. QEMU 7.2 must never find that socket closed: a background snapshot that is cut off can leave QEMU deadlocked
 * or the guest standing, and no later one works in that QEMU. So the writer outlives the agent, and reads to the end
 * also what it cannot write (docs/adr/0007).
 *
 * usage: ram-writer.ts SOCKET FILE [UID]; says on its standard output what came of it, a line of JSON each time
 */

export type RamWriterReply =
  | { readonly listening: true }
  | { readonly receivedBytes: number }
  | { readonly failed: string; readonly code: string };

/**
 * What QEMU sends while the guest stands (a background snapshot's device state) must never wait for us. After that
 * the guest runs, and QEMU sends no faster than we compress: our memory stays bounded.
 */
const UNTHROTTLED_BYTES = 16 * 2 ** 20;

/** Each piece is a trip to another thread: few large ones cost less. */
const PIECE_BYTES = 2 ** 20;

const [socketPath = "", file = "", owner] = process.argv.slice(2);

function tell(reply: RamWriterReply): void {
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}

/** At a path that may be too long for bind(2), for a process of user `owner`. */
async function listen(): Promise<Socket> {
  const server = createServer();
  const connected = Promise.withResolvers<Socket>();
  server.once("connection", (socket) => {
    server.close();
    connected.resolve(socket);
  });
  await using folder = await open(dirname(socketPath), "r");
  const listening = Promise.withResolvers<void>();
  server.once("error", listening.reject);
  server.listen(`/proc/self/fd/${folder.fd}/${basename(socketPath)}`, listening.resolve);
  await listening.promise;
  await chmod(socketPath, 0o600);
  if (owner !== undefined) await chown(socketPath, Number(owner), Number(owner));
  tell({ listening: true });
  return await connected.promise;
}

/** Writes the stream as long as that works, and reads it to its end in any case. */
async function receive(socket: Socket): Promise<RamWriterReply> {
  const buffer = new PassThrough({ highWaterMark: UNTHROTTLED_BYTES });
  const zstd = createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: 1 }, chunkSize: PIECE_BYTES });
  const target = createWriteStream(file, { mode: 0o400, flush: true, highWaterMark: PIECE_BYTES });
  socket.pipe(buffer);
  const written = pipeline(buffer, zstd, target).then(
    async () => ({ receivedBytes: (await stat(file)).size }),
    async (error: NodeJS.ErrnoException) => {
      socket.unpipe(buffer).resume();
      await rm(file, { force: true });
      return { failed: error.message, code: error.code ?? "" };
    },
  );
  await finished(socket, { writable: false }).catch(() => undefined); // what is missing is missed by who loads it
  return await written;
}

process.stdout.on("error", () => undefined); // the agent is gone
let isConnected = false;
// The agent gave the capture up, or is gone, before it began.
process.stdin.resume().once("end", () => !isConnected && process.exit(0));
const socket = await listen();
isConnected = true;
tell(await receive(socket));
process.exit(0);
