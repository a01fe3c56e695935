import { isZero } from "#libs/disk-image";
import { isStillpointError } from "#libs/errors";
import { type BlobSource, bytesSource } from "./blob-source.ts";
import { digestOf } from "./digest.ts";
import { chunkLayer, contentsOf } from "./disk-chunks.ts";
import { type Descriptor, mediaTypes } from "./manifest.ts";
import type { RegistryClient } from "./registry-client.ts";
import { getArtifact } from "./transfer-artifact.ts";
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

  /** @param known layers that are probably there, besides those of the artifact that the tag names so far */
  static async start(target: Target, known: readonly Descriptor[] = []): Promise<ChunkSender> {
    const { registry, repository, tag, signal } = target;
    const before = await getArtifact(registry, repository, tag, signal).catch(otherArtifact);
    return new ChunkSender(target, contentsOf([...(before?.layers ?? []), ...known]));
  }

  get counts(): { readonly sentChunks: number; readonly transferredBytes: number } {
    return { sentChunks: this.#sentChunks, transferredBytes: this.#transferredBytes };
  }

  /** Sends a chunk and gives its layer; undefined when it is all zeros, unless these are to be kept. */
  async sendChunk(
    content: Buffer,
    {
      offset,
      disk,
      keepZeros = false,
    }: { readonly offset: number; readonly disk?: string; readonly keepZeros?: boolean },
    signal: AbortSignal,
  ): Promise<Descriptor | undefined> {
    if (!keepZeros && isZero(content)) return undefined;
    const contentDigest = digestOf(content);
    const blob = (await this.#findKnown(contentDigest, signal)) ?? (await this.#sendNew(content, signal));
    return chunkLayer({ offset, contentDigest, blob }, disk);
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

/** What is no artifact of ours has no chunks of ours. */
function otherArtifact(error: unknown): undefined {
  if (!isStillpointError(error, "IMAGE_INVALID")) throw error;
}
