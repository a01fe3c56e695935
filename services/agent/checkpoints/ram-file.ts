import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createZstdDecompress } from "node:zlib";
import { StillpointError } from "#libs/errors";
import { leaveCgroup } from "../qemu/process.ts";
import { connectUnix } from "../qemu/socket.ts";
import type { RamWriterReply } from "../ram-writer.ts";

/** The name of a checkpoint's RAM in its folder. */
export const RAM_FILE = "ram.zst";

const PIECE_BYTES = 2 ** 20;

type WriterProcess = ChildProcessByStdio<Writable, Readable, null>;

/** A unix socket that takes one stream of RAM and compresses it into a file, in a process that outlives this one. */
export class RamReceiver implements AsyncDisposable {
  readonly #writer: WriterProcess;
  readonly #socketPath: string;
  readonly #listening = Promise.withResolvers<void>();
  readonly #received = Promise.withResolvers<number>();

  private constructor(writer: WriterProcess, socketPath: string) {
    this.#writer = writer;
    this.#socketPath = socketPath;
    for (const { promise } of [this.#listening, this.#received]) promise.catch(() => undefined);
    writer.stdin.on("error", () => undefined); // "close" follows
    createInterface(writer.stdout).on("line", (line) => this.#take(JSON.parse(line) as RamWriterReply));
    writer.once("close", () => this.#fail(new Error("the RAM writer ended before its time")));
  }

  /** Listens at a path that a process of user `owner` may connect to; the folder of `file` must be there. */
  static async listen(socketPath: string, file: string, owner: number | null): Promise<RamReceiver> {
    await rm(socketPath, { force: true });
    const script = join(import.meta.dirname, "../ram-writer.ts");
    const args = [script, socketPath, file, ...(owner === null ? [] : [String(owner)])];
    const options = { detached: true, cwd: "/", env: {}, stdio: ["pipe", "pipe", "ignore"] } as const;
    const writer = spawn(process.execPath, args, { ...options, stdio: [...options.stdio] }) as WriterProcess;
    const receiver = new RamReceiver(writer, socketPath);
    await once(writer, "spawn");
    await leaveCgroup(writer.pid ?? 0);
    await receiver.#listening.promise;
    return receiver;
  }

  /** The size of the file, once it is whole and durable. Fails with SPACE_INSUFFICIENT when the disk is full. */
  get received(): Promise<number> {
    return this.#received.promise;
  }

  /** A stream that has begun is read to its end all the same. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#writer.stdin.end();
    this.#writer.unref();
    await rm(this.#socketPath, { force: true });
  }

  #take(reply: RamWriterReply): void {
    if ("listening" in reply) this.#listening.resolve();
    else if ("receivedBytes" in reply) this.#received.resolve(reply.receivedBytes);
    else
      this.#fail(
        reply.code === "ENOSPC" ? new StillpointError("SPACE_INSUFFICIENT", reply.failed) : new Error(reply.failed),
      );
  }

  #fail(error: Error): void {
    this.#listening.reject(error);
    this.#received.reject(error);
  }
}

/** Sends a file of compressed RAM to a machine that listens on a unix socket. */
export async function sendRam(file: string, socketPath: string): Promise<void> {
  const zstd = createZstdDecompress({ chunkSize: PIECE_BYTES });
  await pipeline(createReadStream(file, { highWaterMark: PIECE_BYTES }), zstd, await connectUnix(socketPath));
}
