import { createReadStream, createWriteStream } from "node:fs";
import { chmod, chown, mkdir, open, rm, stat } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { dirname } from "node:path";
import { PassThrough } from "node:stream";
import { pipeline } from "node:stream/promises";
import { constants, createZstdCompress, createZstdDecompress } from "node:zlib";
import { connectUnix } from "../qemu/socket.ts";

/** The name of a checkpoint's RAM in its folder. */
export const RAM_FILE = "ram.zst";

/**
 * What QEMU sends while the guest stands (a background snapshot's device state) must never wait for us. After that
 * the guest runs, and QEMU sends no faster than we compress: the agent's memory stays bounded.
 */
const UNTHROTTLED_BYTES = 16 * 2 ** 20;

/** Each piece is a trip to another thread: few large ones cost less. */
const PIECE_BYTES = 2 ** 20;

/** A unix socket that takes one stream of RAM and compresses it into a file. */
export class RamReceiver implements AsyncDisposable {
  readonly #server = createServer({ pauseOnConnect: false });
  readonly #socketPath: string;
  readonly #received: Promise<number>;

  private constructor(socketPath: string, file: string) {
    this.#socketPath = socketPath;
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    this.#received = promise;
    promise.catch(() => undefined);
    this.#server.once("connection", (socket) => void compress(socket, file).then(resolve, reject));
    this.#server.once("close", () => reject(new Error("no RAM was sent")));
  }

  /** Listens at a path that a process of user `owner` may connect to. */
  static async listen(socketPath: string, file: string, owner: number | null): Promise<RamReceiver> {
    await rm(socketPath, { force: true });
    const receiver = new RamReceiver(socketPath, file);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    receiver.#server.once("error", reject);
    await using folder = await open(dirname(socketPath), "r");
    receiver.#server.listen(`/proc/self/fd/${folder.fd}/${socketPath.slice(dirname(socketPath).length + 1)}`, resolve);
    await promise;
    await chmod(socketPath, 0o600);
    if (owner !== null) await chown(socketPath, owner, owner);
    return receiver;
  }

  /** The size of the file, once it is whole and durable. */
  get received(): Promise<number> {
    return this.#received;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    await rm(this.#socketPath, { force: true });
  }
}

/** Sends a file of compressed RAM to a machine that listens on a unix socket. */
export async function sendRam(file: string, socketPath: string): Promise<void> {
  const zstd = createZstdDecompress({ chunkSize: PIECE_BYTES });
  await pipeline(createReadStream(file, { highWaterMark: PIECE_BYTES }), zstd, await connectUnix(socketPath));
}

async function compress(socket: Socket, file: string): Promise<number> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const buffer = new PassThrough({ highWaterMark: UNTHROTTLED_BYTES });
  const zstd = createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: 1 }, chunkSize: PIECE_BYTES });
  await pipeline(
    socket,
    buffer,
    zstd,
    createWriteStream(file, { mode: 0o400, flush: true, highWaterMark: PIECE_BYTES }),
  );
  return (await stat(file)).size;
}
