import type { Socket } from "node:net";

interface Wanted {
  readonly length: number;
  resolve(bytes: Buffer): void;
  reject(error: Error): void;
}

/** Takes exact numbers of bytes from a socket, one `take` after the other. */
export class ByteReader {
  #pieces: Buffer[] = [];
  #length = 0;
  #wanted: Wanted | undefined;
  #ended: Error | undefined;

  constructor(socket: Socket) {
    socket.on("data", (piece: Buffer) => {
      this.#pieces.push(piece);
      this.#length += piece.length;
      this.#serve();
    });
    socket.once("close", () => {
      this.#ended = new Error("the connection was closed", { cause: socket.errored });
      this.#serve();
    });
  }

  /** Rejects when the connection ends before. */
  take(length: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#wanted = { length, resolve, reject };
      this.#serve();
    });
  }

  #serve(): void {
    const wanted = this.#wanted;
    if (wanted === undefined) return;
    if (this.#length >= wanted.length) {
      this.#wanted = undefined;
      wanted.resolve(this.#cut(wanted.length));
    } else if (this.#ended !== undefined) {
      wanted.reject(this.#ended);
    }
  }

  #cut(length: number): Buffer {
    const bytes = this.#pieces.length === 1 && this.#pieces[0] ? this.#pieces[0] : Buffer.concat(this.#pieces);
    this.#pieces = bytes.length > length ? [bytes.subarray(length)] : [];
    this.#length -= length;
    return bytes.subarray(0, length);
  }
}
