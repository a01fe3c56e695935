import { createHash } from "node:crypto";
import { open, stat } from "node:fs/promises";
import { StillpointError } from "#libs/errors";

/** The digest of a file, and what the file looked like then: an unchanged look means unchanged bytes. */
export interface KnownDigest {
  readonly digest: string;
  readonly look: string;
}

/** A digest lies beside its file: it stays while that does, also when nobody names the file any more. */
export function digestPath(path: string): string {
  return `${path}.digest`;
}

const PIECE_BYTES = 4 * 2 ** 20;

/** The digest of a file, piece by piece. Opened for each piece: work that is dropped leaves nothing open. */
export class FileDigest {
  readonly path: string;
  readonly #buffer = Buffer.allocUnsafe(PIECE_BYTES);
  #hash = createHash("sha256");
  #position = 0;
  #look = "";

  constructor(path: string) {
    this.path = path;
  }

  /** Undefined until the file's end is reached. A file that was changed meanwhile is begun again. */
  async next(): Promise<KnownDigest | undefined> {
    if (this.#position === 0) this.#look = await lookOf(this.path);
    await using file = await open(this.path, "r");
    const { bytesRead } = await file.read(this.#buffer, 0, PIECE_BYTES, this.#position);
    this.#hash.update(this.#buffer.subarray(0, bytesRead));
    this.#position += bytesRead;
    if (bytesRead > 0) return undefined;
    const digest = `sha256:${this.#hash.digest("hex")}`;
    if (this.#look === (await lookOf(this.path))) return { digest, look: this.#look };
    this.#hash = createHash("sha256");
    this.#position = 0;
    return undefined;
  }
}

/** The digest of a whole file. */
export async function digestOfFile(path: string): Promise<string> {
  const file = new FileDigest(path);
  for (;;) {
    const known = await file.next();
    if (known !== undefined) return known.digest;
  }
}

/** @throws StillpointError CHECKPOINT_DAMAGED when the file is gone */
export async function lookOf(path: string): Promise<string> {
  const { ino, size, mtimeMs, ctimeMs } = await stat(path).catch((cause: unknown) => {
    throw new StillpointError("CHECKPOINT_DAMAGED", `${path} is not there`, { cause });
  });
  return [ino, size, mtimeMs, ctimeMs].join(" ");
}
