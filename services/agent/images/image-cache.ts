import { chmod } from "node:fs/promises";
import { dirname } from "node:path";
import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { Logger } from "#libs/logger";
import {
  type CachedImage,
  clearRemovedPulls,
  listPulled,
  type PulledVmImage,
  parseReference,
  pullVmImage,
  type RegistryClient,
  readPulled,
  removePulled,
  touchPulled,
} from "#libs/oci";
import { RESERVE_BYTES } from "../checkpoints/space.ts";
import type { HeldImage, ImageStore, LocalImage, TransferControl } from "../ports.ts";
import { countEviction, countHit, countMiss } from "./cache-metrics.ts";

export interface ImageCacheDeps {
  readonly folder: string;
  readonly registry: RegistryClient;
  /** What all images may take before those that nobody uses are evicted. */
  readonly maxBytes: number;
  /** Digests of the images that workloads stand on; undefined when that is not known of all: then nothing is evicted. */
  readonly inUse: () => ReadonlySet<string> | undefined;
  /** Where the images are. */
  readonly freeBytes: () => Promise<number>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Images pulled from our registry, by digest, each once however many VMs stand on it. Evicted, the least recently used
 * first, when all together take more than they may or the disk is nearly full; never one that a workload stands on
 * or that somebody holds. What unfinished pulls have brought counts too, and is evicted alike.
 */
export class ImageCache implements ImageStore {
  readonly #deps: ImageCacheDeps;
  /** How many hold each digest. */
  readonly #held = new Map<string, number>();
  /** Removals under way: who wants that image waits, and pulls it again. */
  readonly #leaving = new Map<string, Promise<void>>();
  /** One eviction at a time: two would both make room for the same bytes. */
  #evicting: Promise<unknown> = Promise.resolve();
  #bytes = 0;

  private constructor(deps: ImageCacheDeps) {
    this.#deps = deps;
  }

  static async open(deps: ImageCacheDeps): Promise<ImageCache> {
    await clearRemovedPulls(deps.folder);
    const cache = new ImageCache(deps);
    await cache.#evict(0);
    return cache;
  }

  /** What all images took when they were last looked at. */
  get bytes(): number {
    return this.#bytes;
  }

  async pull(reference: string, control: TransferControl): Promise<HeldImage> {
    const digest = digestOf(reference);
    using stack = new DisposableStack();
    stack.use(await this.#hold(digest));
    const isHere = (await readPulled(this.#deps.folder, digest)) !== undefined;
    (isHere ? countHit : countMiss)(1);
    const image = await this.#fetch(reference, control);
    if (!isHere) await this.#evict(0);
    const held = stack.move();
    return { ...image, [Symbol.dispose]: () => held.dispose() };
  }

  async find(reference: string): Promise<LocalImage> {
    using _held = await this.#hold(digestOf(reference));
    return await this.#fetch(reference);
  }

  async release(references: Iterable<string>): Promise<void> {
    const now = this.#deps.clock.now();
    for (const reference of references) await touchPulled(this.#deps.folder, digestOf(reference), now);
    await this.#evict(0).catch((error: unknown) => this.#deps.logger.warn({ err: error }, "images are not evicted"));
  }

  async #hold(digest: string): Promise<Disposable> {
    this.#held.set(digest, (this.#held.get(digest) ?? 0) + 1);
    await this.#leaving.get(digest);
    return {
      [Symbol.dispose]: () => {
        const others = (this.#held.get(digest) ?? 0) - 1;
        if (others > 0) this.#held.set(digest, others);
        else this.#held.delete(digest);
      },
    };
  }

  async #fetch(reference: string, control?: TransferControl): Promise<PulledVmImage> {
    const { folder, registry, clock } = this.#deps;
    const image = await pullVmImage({
      ...{ registry, reference, into: folder, clock },
      makeRoom: (bytes) => this.#makeRoom(reference, bytes),
      ...(control && {
        signal: control.signal,
        onProgress: ({ doneBytes, totalBytes }) => control.progress({ bytesDone: doneBytes, bytesTotal: totalBytes }),
      }),
    });
    await makeReadable(image);
    await touchPulled(folder, image.digest, clock.now());
    return image;
  }

  /** @throws StillpointError SPACE_INSUFFICIENT: guests need what is left */
  async #makeRoom(reference: string, comingBytes: number): Promise<void> {
    await this.#evict(comingBytes);
    const freeBytes = await this.#deps.freeBytes();
    if (freeBytes >= comingBytes + RESERVE_BYTES) return;
    const message = `the image ${reference} may take ${comingBytes} bytes more; ${freeBytes} are free on the host`;
    throw new StillpointError("SPACE_INSUFFICIENT", message);
  }

  #evict(comingBytes: number): Promise<void> {
    const evicting = this.#evicting.then(() => this.#evictNow(comingBytes));
    this.#evicting = evicting.catch(() => undefined);
    return evicting;
  }

  async #evictNow(comingBytes: number): Promise<void> {
    const images = await listPulled(this.#deps.folder);
    this.#bytes = images.reduce((sum, { bytes }) => sum + bytes, 0);
    for (const image of images.toSorted((a, b) => a.lastUsedMs - b.lastUsedMs)) {
      if (await this.#fits(comingBytes)) return;
      await this.#remove(image);
    }
  }

  async #fits(comingBytes: number): Promise<boolean> {
    if (this.#bytes + comingBytes > this.#deps.maxBytes) return false;
    return (await this.#deps.freeBytes()) >= comingBytes + RESERVE_BYTES;
  }

  /** Looks and begins without a pause in between: whoever wants the image from then on waits until it is gone. */
  async #remove({ digest, bytes }: CachedImage): Promise<void> {
    const inUse = this.#deps.inUse();
    if (inUse === undefined || inUse.has(digest) || this.#held.has(digest)) return;
    const leaving = removePulled(this.#deps.folder, digest);
    this.#leaving.set(
      digest,
      leaving.catch(() => undefined),
    );
    await leaving.finally(() => this.#leaving.delete(digest));
    this.#bytes -= bytes;
    countEviction(1);
    this.#deps.logger.info({ digest, bytes }, "an image is evicted");
  }
}

/** Each VM runs as its own user and reads the base from here. */
async function makeReadable({ disk, kernel, initrd }: PulledVmImage): Promise<void> {
  for (const file of [disk, kernel, initrd]) if (file !== undefined) await chmod(file, 0o444);
  await chmod(dirname(disk), 0o711);
}

/** What a tag names may change, and what a workload stands on may not. */
function digestOf(reference: string): string {
  const { digest } = parseReference(reference);
  if (digest !== undefined) return digest;
  throw new StillpointError("ARGUMENT_INVALID", `the image ${reference} must be named by digest`);
}
