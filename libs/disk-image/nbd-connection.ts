import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { StillpointError } from "#libs/errors";
import { ByteReader } from "./byte-reader.ts";

/** From the NBD protocol: doc/proto.md of NetworkBlockDevice/nbd, "Fixed newstyle negotiation" and "Transmission". */
const OPTION_MAGIC = Buffer.from("IHAVEOPT");
const FIXED_NEWSTYLE_NO_ZEROES = 3;
const EXPORT_NAME = 1;
const REQUEST_MAGIC = 0x25609513;
const REPLY_MAGIC = 0x67446698;
const NO_SPACE = 28;
const commands = { read: 0, write: 1, disconnect: 2, flush: 3 } as const;

interface Request {
  readonly command: (typeof commands)[keyof typeof commands];
  readonly offset?: number;
  readonly length?: number;
  readonly payload?: Buffer;
}

/** A connection with an NBD server over a unix socket; its requests are served one after the other. */
export class NbdConnection {
  readonly #socket: Socket;
  readonly #bytes: ByteReader;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(socket: Socket, bytes: ByteReader) {
    this.#socket = socket;
    this.#bytes = bytes;
  }

  static async open(socketPath: string): Promise<NbdConnection> {
    const socket = connect(socketPath);
    socket.on("error", () => undefined); // "close" follows, also for who waits for bytes
    try {
      await once(socket, "connect");
      const bytes = new ByteReader(socket);
      await bytes.take(18);
      const hello = Buffer.alloc(20);
      hello.writeUInt32BE(FIXED_NEWSTYLE_NO_ZEROES, 0);
      OPTION_MAGIC.copy(hello, 4);
      hello.writeUInt32BE(EXPORT_NAME, 12);
      socket.write(hello);
      // Size and flags; who opened the file knows both.
      await bytes.take(10);
      return new NbdConnection(socket, bytes);
    } catch (error) {
      socket.destroy();
      throw error;
    }
  }

  async read(offset: number, length: number): Promise<Buffer> {
    return await this.#ask({ command: commands.read, offset, length });
  }

  async write(offset: number, payload: Buffer): Promise<void> {
    await this.#ask({ command: commands.write, offset, length: payload.length, payload });
  }

  async flush(): Promise<void> {
    await this.#ask({ command: commands.flush });
  }

  /** Says good-bye; the server ends then. */
  async close(): Promise<void> {
    await this.#last.catch(() => undefined);
    this.#socket.end(header({ command: commands.disconnect }));
    if (!this.#socket.closed) await once(this.#socket, "close").catch(() => undefined);
  }

  #take(length: number): Promise<Buffer> {
    return this.#bytes.take(length).catch((error: unknown) => {
      throw gone(error);
    });
  }

  #ask(request: Request): Promise<Buffer> {
    const answer = this.#last.catch(() => undefined).then(() => this.#exchange(request));
    this.#last = answer;
    return answer;
  }

  async #exchange(request: Request): Promise<Buffer> {
    this.#socket.write(header(request));
    if (request.payload !== undefined) this.#socket.write(request.payload);
    const reply = await this.#take(16);
    const error = reply.readUInt32BE(4);
    if (reply.readUInt32BE(0) !== REPLY_MAGIC) throw gone(new Error("the reply is not one"));
    if (error === NO_SPACE) throw new StillpointError("SPACE_INSUFFICIENT", "there is no room for the disk's data");
    if (error !== 0)
      throw new StillpointError("INTERNAL", `the disk answered error ${error} at byte ${request.offset}`);
    return request.command === commands.read ? await this.#take(request.length ?? 0) : Buffer.alloc(0);
  }
}

function header({ command, offset = 0, length = 0 }: Request): Buffer {
  const bytes = Buffer.alloc(28);
  bytes.writeUInt32BE(REQUEST_MAGIC, 0);
  bytes.writeUInt16BE(command, 6);
  bytes.writeBigUInt64BE(BigInt(offset), 16);
  bytes.writeUInt32BE(length, 24);
  return bytes;
}

function gone(cause: unknown): StillpointError {
  return new StillpointError("INTERNAL", "qemu-nbd went away while a disk was open", { cause });
}
