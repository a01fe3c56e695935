import { createHash, type Hash } from "node:crypto";
import type { Readable } from "node:stream";
import { parseDigest } from "#libs/oci";
import { OciError } from "../domain/oci-error.ts";

interface IntakeOptions {
  /** Takes up every byte; none when left out. */
  readonly hash?: Hash | undefined;
  readonly maxBytes: number;
  /** Told now and then that bytes come in. */
  readonly onProgress?: () => void;
}

/** Bytes of a request on their way into the store: limited, counted and hashed. */
export class Intake implements AsyncIterable<Buffer> {
  readonly #pieces: AsyncIterator<Buffer>;
  readonly #options: IntakeOptions;
  #first: IteratorResult<Buffer> | undefined;
  sizeBytes = 0;

  constructor(body: Readable, options: IntakeOptions) {
    // The connection outlives a body that is refused, so that its client can be told.
    this.#pieces = body.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
    this.#options = options;
  }

  /** Waits for the first byte. Fails when the client goes away. */
  async isEmpty(): Promise<boolean> {
    this.#first ??= await this.#pieces.next();
    return this.#first.done === true;
  }

  /** @throws OciError SIZE_INVALID (413) beyond `maxBytes` */
  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    const { hash, maxBytes, onProgress } = this.#options;
    try {
      let next = this.#first ?? (await this.#pieces.next());
      while (next.done !== true) {
        this.sizeBytes += next.value.length;
        if (this.sizeBytes > maxBytes) {
          throw new OciError("SIZE_INVALID", `a blob may have ${maxBytes} more bytes`, { status: 413 });
        }
        hash?.update(next.value);
        yield next.value;
        onProgress?.();
        next = await this.#pieces.next();
      }
    } finally {
      await this.#pieces.return?.();
    }
  }
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
