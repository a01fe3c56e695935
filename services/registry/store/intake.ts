import { createHash, type Hash } from "node:crypto";
import { IncomingMessage } from "node:http";
import { finished, type Readable } from "node:stream";
import { parseDigest } from "#libs/oci";
import { OciError } from "../domain/oci-error.ts";
import type { ByteSource } from "./byte-source.ts";

interface IntakeOptions {
  /** Takes up every byte; none when left out. */
  readonly hash?: Hash | undefined;
  readonly maxBytes: number;
  /** Told now and then that bytes come in. */
  readonly onProgress?: () => void;
}

const NOTHING: Buffer = Buffer.alloc(0);

/**
 * Bytes of a request on their way into the store: limited, counted and hashed. What the network gives is copied at once
 * into the buffer that waits for it, and freed. Nothing is read while no buffer waits.
 */
export class Intake implements ByteSource, Disposable {
  readonly #body: Readable;
  readonly #options: IntakeOptions;
  readonly #forget: () => void;
  /** Nobody else has the pieces of a request. */
  readonly #isOwner: boolean;
  #room: Buffer = NOTHING;
  #filled = 0;
  /** What came last, and how much of it found room. */
  #piece: Buffer = NOTHING;
  #taken = 0;
  #isOver = false;
  #failure: Error | undefined;
  #wake: () => void = () => {};
  sizeBytes = 0;

  constructor(body: Readable, options: IntakeOptions) {
    this.#body = body;
    this.#options = options;
    this.#isOwner = body instanceof IncomingMessage;
    this.#forget = finished(body, { writable: false }, (error) => this.#end(error ?? undefined));
    body.pause();
    body.on("data", this.#take);
  }

  /** @throws OciError SIZE_INVALID (413) beyond `maxBytes`; fails when the client goes away */
  async fill(buffer: Buffer): Promise<number> {
    this.#room = buffer;
    this.#filled = 0;
    this.#pour();
    while (this.#filled < buffer.length && !this.#isOver) await this.#more();
    this.#room = NOTHING;
    if (this.#failure !== undefined) throw this.#failure;
    const { hash, onProgress } = this.#options;
    hash?.update(buffer.subarray(0, this.#filled));
    onProgress?.();
    return this.#filled;
  }

  /** Fails when the client goes away. */
  async isOver(): Promise<boolean> {
    while (this.#piece.length === 0 && !this.#isOver) await this.#more();
    if (this.#failure !== undefined) throw this.#failure;
    return this.#piece.length === 0;
  }

  /** Takes no more of the body. The connection outlives one that is refused, so that its client can be told. */
  [Symbol.dispose](): void {
    this.#forget();
    this.#body.off("data", this.#take);
    this.#body.pause();
  }

  readonly #take = (piece: Buffer): void => {
    const { maxBytes } = this.#options;
    this.sizeBytes += piece.length;
    this.#piece = piece;
    if (this.sizeBytes <= maxBytes) this.#pour();
    else this.#end(new OciError("SIZE_INVALID", `a blob may have ${maxBytes} more bytes`, { status: 413 }));
  };

  #pour(): void {
    const copied = this.#piece.copy(this.#room, this.#filled, this.#taken);
    this.#filled += copied;
    this.#taken += copied;
    if (this.#taken === this.#piece.length) {
      if (this.#isOwner) free(this.#piece);
      this.#piece = NOTHING;
      this.#taken = 0;
    }
    if (this.#filled === this.#room.length) this.#rouse();
  }

  #end(failure: Error | undefined): void {
    this.#failure ??= failure;
    this.#isOver = true;
    this.#rouse();
  }

  #rouse(): void {
    this.#body.pause();
    this.#wake();
  }

  async #more(): Promise<void> {
    await new Promise<void>((wake) => {
      this.#wake = wake;
      this.#body.resume();
    });
  }
}

/**
 * Gives the memory of a piece back at once. Each holds 64 KiB outside the heap, which V8 hardly counts: left to it, a
 * registry that takes in 32 blobs at once keeps 100 MiB of dead pieces, and spends a third of its time on finding them.
 */
function free({ buffer, byteLength }: Buffer): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength && byteLength > 0) buffer.transfer(0);
}

/** A hash of a digest's algorithm. @throws OciError DIGEST_INVALID */
export function hashFor(digest: string): Hash {
  const parts = parseDigest(digest);
  if (parts === undefined) throw new OciError("DIGEST_INVALID", "the digest is malformed or of an unknown algorithm");
  return createHash(parts.algorithm);
}

/** @throws OciError DIGEST_INVALID */
export function refuseOtherContent(hash: Hash, digest: string): void {
  if (hash.digest("hex") === parseDigest(digest)?.hex) return;
  throw new OciError("DIGEST_INVALID", "the content does not have the digest that was asked for");
}
