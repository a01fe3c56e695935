import { access, open } from "node:fs/promises";
import { dataPieces } from "#libs/disk-image";
import { chunksAtATime } from "./chunks.ts";
import {
  type ContainerCheckpointContents,
  containerConfigOf,
  isContainerCheckpoint,
  type RemoteVolume,
  readContainerCheckpoint,
} from "./container-artifact.ts";
import type { ChunkDescriptor } from "./disk-chunks.ts";
import { fetchChunk, isContent } from "./fetch-chunk.ts";
import { inParallel } from "./in-parallel.ts";
import type { Descriptor } from "./manifest.ts";
import { Patience } from "./patience.ts";
import { findArtifact } from "./pull-checkpoint.ts";
import type { RegistryClient } from "./registry-client.ts";

/** A container's checkpoint that lies in a registry. */
export interface RemoteContainerCheckpoint extends ContainerCheckpointContents {
  readonly repository: string;
  readonly descriptor: Descriptor;
}

const MOST_AT_A_TIME = 4;

/** Whether a reference names a container's checkpoint. @throws StillpointError as `findRemoteCheckpoint` */
export async function namesContainerCheckpoint(registry: RegistryClient, reference: string): Promise<boolean> {
  return isContainerCheckpoint((await findArtifact(registry, reference)).artifact);
}

/** As `findRemoteCheckpoint`, for one of a container. */
export async function findRemoteContainer(
  registry: RegistryClient,
  reference: string,
  signal?: AbortSignal,
): Promise<RemoteContainerCheckpoint> {
  const { artifact, repository } = await findArtifact(registry, reference, signal);
  const config = await registry.readBlob(repository, containerConfigOf(artifact), signal);
  const contents = readContainerCheckpoint(artifact, JSON.parse(config.toString()));
  return { ...contents, repository, descriptor: artifact.descriptor };
}

export interface FetchVolume {
  readonly registry: RegistryClient;
  readonly repository: string;
  /** Absolute. When a file is there, it is of an earlier attempt: what is right in it is kept. */
  readonly path: string;
  /** Bytes that are in their place now; what it gives is waited for. */
  readonly onBytes: (bytes: number) => Promise<void> | void;
  readonly signal: AbortSignal;
}

/**
 * Makes the file of a volume's archive, every chunk checked, with holes where zeros are; tar reads it with
 * --ignore-zeros. What a failed attempt made stays, for the next one.
 * @throws StillpointError IMAGE_CORRUPT, IMAGE_NOT_FOUND, REGISTRY_UNREACHABLE
 */
export async function fetchVolume(volume: RemoteVolume, fetch: FetchVolume): Promise<void> {
  const { registry, repository, path, onBytes, signal } = fetch;
  const isResumed = await access(path).then(
    () => true,
    () => false,
  );
  await using file = await open(path, isResumed ? "r+" : "wx+", 0o600);
  await file.truncate(volume.virtualSizeBytes);
  const isThere = async ({ offset, length, contentDigest }: ChunkDescriptor) => {
    if (!isResumed) return false;
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, offset);
    return isContent(buffer, contentDigest);
  };
  const patience = new Patience();
  const limit = chunksAtATime(volume.chunkSizeBytes, MOST_AT_A_TIME);
  await inParallel(volume.chunks, { limit, signal }, async (chunk, aborted) => {
    if (!(await isThere(chunk))) {
      const content = await patience.outlast(aborted, () => fetchChunk({ registry, repository }, chunk, aborted));
      if (isResumed) await file.write(content, 0, content.length, chunk.offset);
      else for (const { at, bytes } of dataPieces(content)) await file.write(bytes, 0, bytes.length, chunk.offset + at);
    }
    await onBytes(chunk.length);
  });
}
