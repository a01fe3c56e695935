import type { ByteSource } from "./byte-source.ts";

/** Buffers of one size that are used again; whoever finds none waits for the next that is given back. */
export class PartBuffers {
  readonly #free: Buffer[] = [];
  readonly #waiting: ((buffer: Buffer) => void)[] = [];
  readonly #sizeBytes: number;
  #unmade: number;

  constructor({ sizeBytes, count }: { sizeBytes: number; count: number }) {
    this.#sizeBytes = sizeBytes;
    this.#unmade = count;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** A buffer until it goes out of scope. */
  async take(): Promise<{ readonly buffer: Buffer } & Disposable> {
    const buffer = this.#free.pop() ?? this.#make() ?? (await new Promise<Buffer>((take) => this.#waiting.push(take)));
    return { buffer, [Symbol.dispose]: () => this.#give(buffer) };
  }

  #make(): Buffer | undefined {
    if (this.#unmade === 0) return undefined;
    this.#unmade -= 1;
    return Buffer.allocUnsafeSlow(this.#sizeBytes);
  }

  #give(buffer: Buffer): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(buffer);
    else next(buffer);
  }
}

/**
 * Fills the buffer again and again with what comes in; a piece is valid until the next is asked for. The last one may
 * be shorter; there is one at least.
 */
export async function* inParts(body: ByteSource, buffer: Buffer): AsyncGenerator<{ bytes: Buffer; isLast: boolean }> {
  for (let isLast = false; !isLast; ) {
    const bytes = buffer.subarray(0, await body.fill(buffer));
    isLast = await body.isOver();
    yield { bytes, isLast };
  }
}
