import { createHash } from "node:crypto";
import { StillpointError } from "#libs/errors";

/** POSIX.1-2017, pax: archives are made of blocks of this size. */
const BLOCK = 512;
const ZERO_BLOCK = Buffer.alloc(BLOCK);
/** A file of this part of a chunk or more has chunks of its own. */
const SMALL_PART = 4;
/** Of small files about one in so many begins a chunk: what changes before it does not shift what comes after it. */
const SYNC_EVERY = 32;
/** Headers with longer values are not what tar writes. */
const MAX_HEAD_BYTES = 2 ** 20;

/**
 * Cuts a tar archive (pax) into chunks of one size so that what has not changed stays in the same chunks: contents of
 * large files begin and end with a chunk, small ones share chunks in runs. Between entries zeros are put; tar reads such
 * an archive with --ignore-zeros. The last chunk may be shorter.
 * @throws StillpointError IMAGE_INVALID for what is no archive
 */
export async function* alignArchive(archive: AsyncIterable<Buffer>, chunkBytes: number): AsyncGenerator<Buffer> {
  const reader = new BlockReader(archive);
  const cutter = new Cutter(chunkBytes);
  for (let entry = await readHead(reader); entry !== undefined; entry = await readHead(reader)) {
    const { head, contentBytes } = entry;
    const isLarge = contentBytes >= chunkBytes / SMALL_PART;
    if (isLarge) cutter.padBefore(head.length);
    else if (isSyncPoint(entry.name)) cutter.pad();
    cutter.add(head);
    yield* cutter.whole();
    for (let left = roundUp(contentBytes); left > 0; ) {
      const piece = await reader.take(Math.min(left, chunkBytes));
      left -= piece.length;
      cutter.add(piece);
      yield* cutter.whole();
    }
    if (isLarge) cutter.pad();
    yield* cutter.whole();
  }
  await reader.drain();
  yield* cutter.rest();
}

interface Entry {
  /** Its header, with the extended one before it. */
  readonly head: Buffer;
  readonly name: Buffer;
  readonly contentBytes: number;
}

/** Undefined at the end of the archive. */
async function readHead(reader: BlockReader): Promise<Entry | undefined> {
  const parts: Buffer[] = [];
  let size: number | undefined;
  for (let header = await readHeader(reader); header !== undefined; header = await readHeader(reader)) {
    const { block, type, bytes } = header;
    parts.push(block);
    if (!IS_EXTENDED.has(type)) {
      const contentBytes = HAS_CONTENT.has(type) ? (size ?? bytes) : 0;
      return { head: Buffer.concat(parts), name: block.subarray(0, 100), contentBytes };
    }
    const more = await reader.take(roundUp(bytes));
    parts.push(more);
    size = type === "x" ? sizeRecord(more.subarray(0, bytes)) : size;
  }
  return undefined;
}

/** Types of headers that tell more of the entry after them, and of entries with content. */
const IS_EXTENDED = new Set(["x", "g", "L", "K"]);
const HAS_CONTENT = new Set(["0", "\0", "7"]);

async function readHeader(reader: BlockReader) {
  const block = await reader.take(BLOCK);
  if (block.equals(ZERO_BLOCK)) return undefined;
  if (block.toString("latin1", 257, 262) !== "ustar") throw invalid("a header is wrong");
  const type = block.toString("latin1", 156, 157);
  const bytes = numberAt(block, 124, 12);
  if (IS_EXTENDED.has(type) && bytes > MAX_HEAD_BYTES) throw invalid("a header is too long");
  return { block, type, bytes };
}

/** "30 size=12884901888\n" among the records of an extended header. */
function sizeRecord(records: Buffer): number | undefined {
  for (let at = 0; at < records.length; ) {
    const space = records.indexOf(0x20, at);
    const length = Number(records.toString("latin1", at, space));
    if (space < 0 || !Number.isSafeInteger(length) || length <= space - at)
      throw invalid("an extended header is wrong");
    const [key, value] = records.toString("latin1", space + 1, at + length - 1).split("=");
    if (key === "size") return Number(value);
    at += length;
  }
  return undefined;
}

/** Octal, or binary where its first bit says so. */
function numberAt(header: Buffer, offset: number, length: number): number {
  const field = header.subarray(offset, offset + length);
  if (((field[0] ?? 0) & 0x80) !== 0) return Number(field.readBigUInt64BE(length - 8));
  const text = field.toString("latin1").replace(/[\0 ]+$/, "");
  const value = Number.parseInt(text || "0", 8);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw invalid("a size is wrong");
}

function isSyncPoint(name: Buffer): boolean {
  return createHash("sha256").update(name).digest().readUInt32BE(0) % SYNC_EVERY === 0;
}

const roundUp = (bytes: number): number => Math.ceil(bytes / BLOCK) * BLOCK;

/** Gathers bytes into chunks. */
class Cutter {
  readonly #chunkBytes: number;
  #chunk: Buffer;
  #filled = 0;
  #done: Buffer[] = [];

  constructor(chunkBytes: number) {
    this.#chunkBytes = chunkBytes;
    this.#chunk = Buffer.alloc(chunkBytes);
  }

  add(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      const copied = bytes.copy(this.#chunk, this.#filled, at);
      at += copied;
      this.#filled += copied;
      if (this.#filled === this.#chunkBytes) this.#next();
    }
  }

  /** Ends the chunk, when there is something in it. */
  pad(): void {
    if (this.#filled > 0) this.#next();
  }

  /** Puts zeros so that so many bytes more end with a chunk. */
  padBefore(bytes: number): void {
    const over = (this.#filled + bytes) % this.#chunkBytes;
    if (over > 0) this.#skip(this.#chunkBytes - over);
  }

  whole(): Buffer[] {
    const done = this.#done;
    this.#done = [];
    return done;
  }

  rest(): Buffer[] {
    return [...this.whole(), ...(this.#filled > 0 ? [this.#chunk.subarray(0, this.#filled)] : [])];
  }

  /** What is not written to is zeros. */
  #skip(bytes: number): void {
    this.#filled += bytes;
    if (this.#filled < this.#chunkBytes) return;
    const over = this.#filled - this.#chunkBytes;
    this.#next();
    this.#filled = over;
  }

  #next(): void {
    this.#done.push(this.#chunk);
    this.#chunk = Buffer.alloc(this.#chunkBytes);
    this.#filled = 0;
  }
}

/** Reads a stream by lengths that the reader says. */
class BlockReader {
  readonly #source: AsyncIterator<Buffer>;
  #pending: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  async take(bytes: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let left = bytes; left > 0; ) {
      if (this.#pending.length === 0) await this.#read();
      const part = this.#pending.subarray(0, left);
      this.#pending = this.#pending.subarray(part.length);
      parts.push(part);
      left -= part.length;
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
  }

  /** So that who writes it can end. */
  async drain(): Promise<void> {
    while ((await this.#source.next()).done !== true);
  }

  async #read(): Promise<void> {
    const { value, done } = await this.#source.next();
    if (done === true) throw invalid("it ends before its end");
    this.#pending = value;
  }
}

function invalid(why: string): StillpointError {
  return new StillpointError("IMAGE_INVALID", `the archive of a volume cannot be read: ${why}`);
}
