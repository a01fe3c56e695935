import { type FileHandle, open } from "node:fs/promises";
import { dataPieces, isZero } from "#libs/disk-image";
import { chunksAtATime } from "./chunks.ts";
import type { ChunkDescriptor } from "./disk-chunks.ts";
import { fetchChunk, isContent } from "./fetch-chunk.ts";
import { inParallel } from "./in-parallel.ts";
import type { Patience } from "./patience.ts";
import type { Progress } from "./progress.ts";
import type { RegistryClient } from "./registry-client.ts";
import type { VmImage } from "./vm-image.ts";

interface Source {
  readonly registry: RegistryClient;
  readonly repository: string;
  readonly patience: Patience;
  readonly onProgress: ((progress: Progress) => void) | undefined;
}

/** More bring no speed, and memory to a process that lives long. */
const MOST_AT_A_TIME = 4;

/**
 * Makes an image's disk as a sparse raw file, durable when this resolves. Of a file that is there every chunk is
 * compared with its digest, and only what is not right in it is fetched.
 * @throws StillpointError IMAGE_CORRUPT, IMAGE_NOT_FOUND, REGISTRY_UNREACHABLE; ENOSPC of the file system
 */
export async function fetchRawDisk(source: Source, image: VmImage, path: string, signal: AbortSignal): Promise<void> {
  const { virtualSizeBytes, chunkSizeBytes, chunks } = image;
  await using file = await openOrMake(path);
  const isResumed = (await file.stat()).size === virtualSizeBytes;
  await file.truncate(virtualSizeBytes);
  const totalBytes = chunks.reduce((sum, { length }) => sum + length, 0);
  let [doneBytes, transferredBytes] = [0, 0];
  const limit = chunksAtATime(chunkSizeBytes, MOST_AT_A_TIME);
  await inParallel(chunks, { limit, signal }, async (chunk, aborted) => {
    const found = isResumed ? await stateOf(file, chunk) : "empty";
    if (found !== "right") {
      const content = await source.patience.outlast(aborted, () => fetchChunk(source, chunk, aborted));
      await writeChunk(file, chunk, content, found);
      transferredBytes += chunk.blob.size;
    }
    doneBytes += chunk.length;
    source.onProgress?.({ doneBytes, totalBytes, transferredBytes });
  });
  await file.sync();
}

async function openOrMake(path: string): Promise<FileHandle> {
  return await open(path, "r+", 0o600).catch(() => open(path, "wx+", 0o600));
}

type ChunkState = "right" | "empty" | "other";

async function stateOf(file: FileHandle, { offset, length, contentDigest }: ChunkDescriptor): Promise<ChunkState> {
  const { buffer } = await file.read(Buffer.allocUnsafeSlow(length), 0, length, offset);
  if (isContent(buffer, contentDigest)) return "right";
  return isZero(buffer) ? "empty" : "other";
}

/** Zeros are left out where nothing has been written. */
async function writeChunk(file: FileHandle, { offset }: ChunkDescriptor, content: Buffer, over: ChunkState) {
  const pieces = over === "empty" ? dataPieces(content) : [{ at: 0, bytes: content }];
  for (const { at, bytes } of pieces) await file.write(bytes, 0, bytes.length, offset + at);
}
