import { type DiskFormat, type GuestDisk, type GuestRange, openGuestDisk } from "#libs/disk-image";
import { fileSource } from "./blob-source.ts";
import {
  type CheckpointConfig,
  type CheckpointContents,
  type CheckpointDisk,
  checkpointChunkSize,
  chunkMapDigest,
} from "./checkpoint-artifact.ts";
import { ChunkSender } from "./chunk-sender.ts";
import { type ChunkPlace, chunksAtATime, chunksOf } from "./chunks.ts";
import { type ChunkDescriptor, chunkLayer, readChunks } from "./disk-chunks.ts";
import { cancellable, inParallel } from "./in-parallel.ts";
import { type Descriptor, mediaTypes } from "./manifest.ts";
import type { Progress } from "./progress.ts";
import { type CheckpointTarget, publishCheckpoint } from "./publish-checkpoint.ts";
import { sendRam } from "./send-ram.ts";

export interface DiskToPush {
  readonly id: string;
  readonly virtualSizeBytes: number;
  /** A file that nobody writes to while it is read; asked for in each turn. */
  readonly path: () => string;
  readonly format: DiskFormat;
  /** The parts to read; outside of them the disk is as `known` says, or zeros. */
  readonly ranges: readonly GuestRange[];
  /** Chunks of an earlier checkpoint of the same disk, which the repository holds; cut as `checkpointChunkSize` says. */
  readonly known: readonly ChunkDescriptor[];
}

export interface PushCheckpoint extends CheckpointTarget {
  readonly config: Omit<CheckpointConfig, "version" | "disks" | "ram">;
  readonly disks: readonly DiskToPush[];
  /** Paths of files. */
  readonly ram?: string;
  readonly kernel?: string;
  readonly initrd?: string;
  /** Does a piece of work that reads disks when it may be done; at once when left out. */
  readonly turn?: (work: () => Promise<void>) => Promise<void>;
  /** After each chunk; what it gives is waited for. */
  readonly onProgress?: (progress: Progress) => Promise<void> | void;
}

export interface PushedCheckpoint {
  readonly descriptor: Descriptor;
  /** Bytes of blobs and manifests that the registry did not have. */
  readonly sentBytes: number;
  /** Of all that the checkpoint consists of in the registry. */
  readonly totalBytes: number;
  readonly sentChunks: number;
  readonly totalChunks: number;
  readonly contents: Pick<CheckpointContents, "config"> & { readonly layers: readonly Descriptor[] };
}

/** Read in one turn. */
const TURN_BYTES = 64 * 2 ** 20;
const MOST_AT_A_TIME = 8;

/**
 * Pushes a checkpoint: of each disk only the chunks that its ranges touch are read, of these and of RAM and boot files
 * only what the registry lacks is sent; the manifest comes last. Interrupted it leaves nothing that can be seen, and
 * goes on where it was when it is repeated.
 * @throws StillpointError REGISTRY_UNREACHABLE, CANCELLED
 */
export async function pushCheckpoint(push: PushCheckpoint): Promise<PushedCheckpoint> {
  const what = `the push to ${push.repository}:${push.tag}`;
  return await cancellable(what, push.signal, () => new CheckpointPush(push).run());
}

class CheckpointPush {
  readonly #push: PushCheckpoint;
  readonly #places: ReadonlyMap<string, readonly ChunkPlace[]>;
  #done = 0;
  #total: number;

  constructor(push: PushCheckpoint) {
    this.#push = push;
    this.#places = new Map(push.disks.map((disk) => [disk.id, chunksOf(disk.ranges, cutOf(disk))]));
    this.#total = [...this.#places.values()].flat().reduce((sum, { length }) => sum + length, 0);
  }

  async run(): Promise<PushedCheckpoint> {
    const { registry, repository, tag, signal, disks } = this.#push;
    const known = disks.flatMap(({ known: chunks }) => chunks.map((chunk) => chunkLayer(chunk)));
    const sender = await ChunkSender.start({ registry, repository, tag, signal }, known);
    const boot = await this.#sendBoot(sender);
    const ram = await this.#sendRam(sender);
    const sent: CheckpointDisk[] = [];
    for (const disk of disks) sent.push({ ...cutOf(disk), id: disk.id, chunks: await this.#sendDisk(disk, sender) });
    const config: CheckpointConfig = {
      version: 1,
      ...this.#push.config,
      disks: sent.map(({ chunks, ...disk }) => ({ ...disk, chunkMapDigest: chunkMapDigest(chunks) })),
      ...(ram && { ram: ram.facts }),
    };
    return await this.#publish(sender, config, { layers: [...boot, ...(ram?.layers ?? [])], disks: sent });
  }

  async #sendBoot(sender: ChunkSender): Promise<Descriptor[]> {
    const { kernel, initrd, signal } = this.#push;
    const files = [
      { mediaType: mediaTypes.kernel, path: kernel },
      { mediaType: mediaTypes.initrd, path: initrd },
    ];
    const layers: Descriptor[] = [];
    for (const { mediaType, path } of files) {
      if (path === undefined) continue;
      const source = await fileSource(path, signal);
      await sender.send(source, signal);
      layers.push({ mediaType, digest: source.digest, size: source.sizeBytes });
    }
    return layers;
  }

  async #sendRam(sender: ChunkSender) {
    const { ram, signal } = this.#push;
    if (ram === undefined) return undefined;
    return await sendRam(ram, sender, { signal, begun: (bytes) => (this.#total += bytes), sent: this.#tell(sender) });
  }

  async #sendDisk(disk: DiskToPush, sender: ChunkSender): Promise<ChunkDescriptor[]> {
    const places = this.#places.get(disk.id) ?? [];
    const turn = this.#push.turn ?? ((work) => work());
    const chunks = new Map(disk.known.map((chunk) => [chunk.offset, chunk]));
    for (const { offset } of places) chunks.delete(offset);
    const cut = cutOf(disk);
    const inTurn = Math.max(1, Math.floor(TURN_BYTES / cut.chunkSizeBytes));
    for (let first = 0; first < places.length; first += inTurn) {
      await turn(async () => {
        await using guest = await openGuestDisk({ path: disk.path(), format: disk.format });
        const layers = await this.#sendPlaces(guest, disk.id, places.slice(first, first + inTurn), sender);
        for (const chunk of readChunks(layers, cut, disk.id)) chunks.set(chunk.offset, chunk);
      });
    }
    return [...chunks.values()].sort((a, b) => a.offset - b.offset);
  }

  async #sendPlaces(guest: GuestDisk, disk: string, places: readonly ChunkPlace[], sender: ChunkSender) {
    const layers: Descriptor[] = [];
    const tell = this.#tell(sender);
    const limit = chunksAtATime(places[0]?.length ?? 1, MOST_AT_A_TIME);
    await inParallel(places, { limit, signal: this.#push.signal }, async ({ offset, length }, signal) => {
      const content = await guest.read(offset, length);
      const layer = await sender.sendChunk(content, { offset, disk }, signal);
      if (layer !== undefined) layers.push(layer);
      await tell(length);
    });
    return layers;
  }

  #tell(sender: ChunkSender): (bytes: number) => Promise<void> {
    return async (bytes) => {
      this.#done += bytes;
      const { transferredBytes } = sender.counts;
      await this.#push.onProgress?.({ doneBytes: this.#done, totalBytes: this.#total, transferredBytes });
    };
  }

  async #publish(sender: ChunkSender, config: CheckpointConfig, parts: Parts): Promise<PushedCheckpoint> {
    const { layers, ...published } = await publishCheckpoint(this.#push, sender, {
      artifactType: mediaTypes.checkpoint,
      configType: mediaTypes.checkpointConfig,
      config,
      layers: parts.layers,
      disks: parts.disks,
    });
    return { ...published, contents: { config, layers } };
  }
}

interface Parts {
  /** Boot files and RAM. */
  readonly layers: readonly Descriptor[];
  readonly disks: readonly CheckpointDisk[];
}

const cutOf = ({ virtualSizeBytes }: { readonly virtualSizeBytes: number }) => ({
  virtualSizeBytes,
  chunkSizeBytes: checkpointChunkSize(virtualSizeBytes),
});
