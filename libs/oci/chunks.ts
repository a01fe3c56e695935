import type { GuestRange } from "#libs/disk-image";

/** A chunk's place on the disk. */
export interface ChunkPlace {
  readonly offset: number;
  /** The chunk size, but for the last chunk of a disk. */
  readonly length: number;
}

/** The chunks that the ranges touch, in order. */
export function chunksOf(
  ranges: readonly GuestRange[],
  { virtualSizeBytes, chunkSizeBytes }: { readonly virtualSizeBytes: number; readonly chunkSizeBytes: number },
): ChunkPlace[] {
  const numbers = new Set<number>();
  for (const { offset, length } of ranges) {
    const last = Math.floor((offset + length - 1) / chunkSizeBytes);
    for (let number = Math.floor(offset / chunkSizeBytes); number <= last; number += 1) numbers.add(number);
  }
  return [...numbers]
    .sort((a, b) => a - b)
    .map((number) => number * chunkSizeBytes)
    .map((offset) => ({ offset, length: Math.min(chunkSizeBytes, virtualSizeBytes - offset) }));
}

/** How many chunks are worked on at a time: at most `most`, and so that they take at most about 128 MiB of memory. */
export function chunksAtATime(chunkSizeBytes: number, most: number): number {
  return Math.max(1, Math.min(most, Math.floor((128 * 2 ** 20) / chunkSizeBytes)));
}
