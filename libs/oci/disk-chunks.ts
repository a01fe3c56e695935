import { StillpointError } from "#libs/errors";
import { MAX_GROUP } from "./artifact.ts";
import type { ChunkPlace } from "./chunks.ts";
import { isDigest } from "./digest.ts";
import { type Descriptor, mediaTypes } from "./manifest.ts";

/** A chunk of a disk that is not all zeros. */
export interface ChunkDescriptor extends ChunkPlace {
  /** Of the bytes before compression. */
  readonly contentDigest: string;
  readonly blob: Descriptor;
}

export const annotations = {
  offset: "vnd.stillpoint.disk.offset",
  contentDigest: "vnd.stillpoint.disk.digest",
  /** Which disk of several; not in a VM image, which has one. */
  disk: "vnd.stillpoint.disk.id",
} as const;

interface Cut {
  readonly virtualSizeBytes: number;
  readonly chunkSizeBytes: number;
}

/** The layer of a chunk. */
export function chunkLayer(
  { offset, contentDigest, blob }: Omit<ChunkDescriptor, "length">,
  disk?: string,
): Descriptor {
  const marks = { [annotations.offset]: String(offset), [annotations.contentDigest]: contentDigest };
  const named = disk === undefined ? {} : { [annotations.disk]: disk };
  return { mediaType: mediaTypes.diskChunk, digest: blob.digest, size: blob.size, annotations: { ...marks, ...named } };
}

/**
 * The chunks of a disk among an artifact's layers, in order; trusts nothing: they lie inside the disk, aligned and
 * without overlap.
 * @throws StillpointError IMAGE_INVALID
 */
export function readChunks(layers: readonly Descriptor[], cut: Cut, disk?: string): ChunkDescriptor[] {
  const own = layers.filter(
    (layer) => layer.mediaType === mediaTypes.diskChunk && layer.annotations?.[annotations.disk] === disk,
  );
  const chunks = own.map((layer) => readChunk(layer, cut)).sort((a, b) => a.offset - b.offset);
  if (new Set(chunks.map(({ offset }) => offset)).size !== chunks.length) throw invalid("two chunks overlap");
  return chunks;
}

/** Chunks by the digest of their content. */
export function contentsOf(layers: readonly Descriptor[]): Map<string, Descriptor> {
  const chunks = layers.filter(({ mediaType }) => mediaType === mediaTypes.diskChunk);
  return new Map(
    chunks.flatMap((layer) => {
      const content = layer.annotations?.[annotations.contentDigest];
      return content === undefined ? [] : [[content, plain(layer)]];
    }),
  );
}

/** The layers of a disk's chunks in groups of neighbours: a change in one leaves the others as they are. */
export function groupChunks(layers: readonly Descriptor[], chunkSizeBytes: number): Descriptor[][] {
  const groupBytes = chunkSizeBytes * MAX_GROUP;
  const groups = Map.groupBy(layers, (layer) =>
    Math.floor(Number(layer.annotations?.[annotations.offset]) / groupBytes),
  );
  return [...groups.values()];
}

export function plain({ mediaType, digest, size }: Descriptor): Descriptor {
  return { mediaType, digest, size };
}

function readChunk(layer: Descriptor, { virtualSizeBytes, chunkSizeBytes }: Cut): ChunkDescriptor {
  const offset = Number(layer.annotations?.[annotations.offset] ?? Number.NaN);
  const contentDigest = layer.annotations?.[annotations.contentDigest];
  if (!Number.isSafeInteger(offset) || offset < 0 || offset >= virtualSizeBytes || offset % chunkSizeBytes !== 0) {
    throw invalid("a chunk lies outside the disk");
  }
  if (contentDigest === undefined || !isDigest(contentDigest)) throw invalid("a chunk has no digest");
  const length = Math.min(chunkSizeBytes, virtualSizeBytes - offset);
  if (layer.size > 2 * chunkSizeBytes) throw invalid("a chunk is larger than what it holds");
  return { offset, length, contentDigest, blob: plain(layer) };
}

function invalid(why: string): StillpointError {
  return new StillpointError("IMAGE_INVALID", `this disk cannot be used: ${why}`);
}
