import type { FileHandle } from "node:fs/promises";
import { StillpointError } from "#libs/errors";
import { type BlobSource, bytesSource } from "./blob-source.ts";
import { type ChunkPlace, isZero } from "./chunks.ts";
import { digestOf } from "./digest.ts";
import { type Descriptor, mediaTypes } from "./manifest.ts";
import type { RegistryClient } from "./registry-client.ts";
import { annotations, contentsOf } from "./vm-image.ts";
import { compress } from "./zstd.ts";

interface Target {
  readonly registry: RegistryClient;
  readonly repository: string;
  readonly tag: string;
  readonly signal?: AbortSignal | undefined;
}

/** Sends the blobs of one push, each once, and only those that the registry lacks. */
export class ChunkSender {
  readonly #target: Target;
  /** Chunks of the image that the tag names so far, by the digest of their content: they need no compression. */
  readonly #known: ReadonlyMap<string, Descriptor>;
  readonly #sending = new Map<string, Promise<boolean>>();
  #sentChunks = 0;
  #transferredBytes = 0;

  private constructor(target: Target, known: ReadonlyMap<string, Descriptor>) {
    this.#target = target;
    this.#known = known;
  }

  static async start(target: Target): Promise<ChunkSender> {
    const before = await target.registry.getManifest(target.repository, target.tag, target.signal);
    return new ChunkSender(target, before === undefined ? new Map() : contentsOf(before.bytes));
  }

  get counts(): { readonly sentChunks: number; readonly transferredBytes: number } {
    return { sentChunks: this.#sentChunks, transferredBytes: this.#transferredBytes };
  }

  /** Sends the chunk at that place of a raw disk; undefined when it is all zeros, unless these are to be kept. */
  async sendChunk(
    disk: FileHandle,
    place: ChunkPlace,
    { keepZeros }: { readonly keepZeros: boolean },
    signal: AbortSignal,
  ): Promise<Descriptor | undefined> {
    const content = await readChunk(disk, place);
    if (!keepZeros && isZero(content)) return undefined;
    const contentDigest = digestOf(content);
    const { mediaType, digest, size } =
      (await this.#findKnown(contentDigest, signal)) ?? (await this.#sendNew(content, signal));
    const marks = { [annotations.offset]: String(place.offset), [annotations.contentDigest]: contentDigest };
    return { mediaType, digest, size, annotations: marks };
  }

  /** Sends a blob unless the registry has it; true when it had to be sent. */
  async send(source: BlobSource, signal?: AbortSignal): Promise<boolean> {
    const running = this.#sending.get(source.digest);
    if (running !== undefined) {
      await running;
      return false;
    }
    const sending = this.#sendMissing(source, signal);
    this.#sending.set(source.digest, sending);
    return await sending;
  }

  async #findKnown(contentDigest: string, signal: AbortSignal): Promise<Descriptor | undefined> {
    const known = this.#known.get(contentDigest);
    if (known === undefined) return undefined;
    const { registry, repository } = this.#target;
    return (await registry.hasBlob(repository, known.digest, signal)) ? known : undefined;
  }

  async #sendNew(content: Buffer, signal: AbortSignal): Promise<Descriptor> {
    const source = bytesSource(await compress(content));
    if (await this.send(source, signal)) this.#sentChunks += 1;
    return { mediaType: mediaTypes.diskChunk, digest: source.digest, size: source.sizeBytes };
  }

  async #sendMissing(source: BlobSource, signal?: AbortSignal): Promise<boolean> {
    const { registry, repository } = this.#target;
    if (await registry.hasBlob(repository, source.digest, signal)) return false;
    await registry.putBlob(repository, source, signal);
    this.#transferredBytes += source.sizeBytes;
    return true;
  }
}

/** Reads a whole chunk; beyond the end of a file that is no multiple of 512 bytes there are zeros. */
async function readChunk(disk: FileHandle, { offset, length }: ChunkPlace): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(length);
  const { bytesRead } = await disk.read(buffer, 0, length, offset);
  if (length - bytesRead >= 512) {
    throw new StillpointError("IMAGE_INVALID", "the disk changed while it was read", { help: "Stop who writes it." });
  }
  return buffer.fill(0, bytesRead);
}
