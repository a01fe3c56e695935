/** Bytes on their way in, taken into buffers of whoever wants them. */
export interface ByteSource {
  /** Fills the buffer and answers how many bytes came: fewer than it has room for only at the end. */
  fill(buffer: Buffer): Promise<number>;
  /** Waits for the next byte; true when none comes any more. */
  isOver(): Promise<boolean>;
}

/** The bytes of some pieces, one after the other. */
export class PiecesSource implements ByteSource {
  readonly #pieces: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);
  #isOver = false;

  constructor(pieces: AsyncIterable<Buffer>) {
    this.#pieces = pieces[Symbol.asyncIterator]();
  }

  async fill(buffer: Buffer): Promise<number> {
    let filled = 0;
    while (filled < buffer.length && !(await this.isOver())) {
      const copied = this.#rest.copy(buffer, filled);
      filled += copied;
      this.#rest = this.#rest.subarray(copied);
    }
    return filled;
  }

  async isOver(): Promise<boolean> {
    while (this.#rest.length === 0 && !this.#isOver) {
      const { done, value } = await this.#pieces.next();
      if (done === true) this.#isOver = true;
      else this.#rest = value;
    }
    return this.#isOver;
  }
}
