import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { access, open } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { createEmpty, dataPieces, openGuestDisk } from "#libs/disk-image";
import { StillpointError } from "#libs/errors";
import {
  type CheckpointContents,
  type CheckpointDisk,
  checkpointConfigOf,
  readCheckpoint,
} from "./checkpoint-artifact.ts";
import { chunksAtATime } from "./chunks.ts";
import { digestOf } from "./digest.ts";
import type { ChunkDescriptor } from "./disk-chunks.ts";
import { fetchChunk, isContent } from "./fetch-chunk.ts";
import { inParallel } from "./in-parallel.ts";
import type { Descriptor } from "./manifest.ts";
import { Patience } from "./patience.ts";
import { parseReference } from "./reference.ts";
import type { RegistryClient } from "./registry-client.ts";
import { getArtifact } from "./transfer-artifact.ts";

/** A checkpoint that lies in a registry. */
export interface RemoteCheckpoint extends CheckpointContents {
  readonly repository: string;
  readonly descriptor: Descriptor;
}

/** One file that is being brought from a registry. */
export interface FetchFile {
  readonly registry: RegistryClient;
  readonly checkpoint: RemoteCheckpoint;
  /** Absolute. When a file is there, it is of an earlier attempt: what is right in it is kept. */
  readonly path: string;
  /** Bytes that are in their place now, also those that were there already; what it gives is waited for. */
  readonly onBytes?: (bytes: number) => Promise<void> | void;
  readonly signal?: AbortSignal | undefined;
}

/** More bring no speed, and memory to a process that lives long. */
const MOST_AT_A_TIME = 4;

/**
 * Looks at a checkpoint in a registry, without its bytes.
 * @param reference `repository@digest`, or `repository:tag` for what the tag names now
 * @throws StillpointError NAME_INVALID, IMAGE_NOT_FOUND, IMAGE_INVALID, REGISTRY_UNREACHABLE
 */
export async function findRemoteCheckpoint(
  registry: RegistryClient,
  reference: string,
  signal?: AbortSignal,
): Promise<RemoteCheckpoint> {
  const { artifact, repository } = await findArtifact(registry, reference, signal);
  const config = await registry.readBlob(repository, checkpointConfigOf(artifact), signal);
  const contents = readCheckpoint(artifact, JSON.parse(config.toString()));
  return { ...contents, repository, descriptor: artifact.descriptor };
}

/** What lies behind the reference of a checkpoint. @throws StillpointError NAME_INVALID, IMAGE_NOT_FOUND, IMAGE_INVALID */
export async function findArtifact(registry: RegistryClient, reference: string, signal?: AbortSignal) {
  const { repository, tag, digest } = parseReference(reference);
  const artifact = await getArtifact(registry, repository, digest ?? tag ?? "", signal);
  if (artifact === undefined) throw new StillpointError("IMAGE_NOT_FOUND", `there is no checkpoint ${reference}`);
  return { artifact, repository };
}

/** All bytes that `fetchDisk` and `fetchRam` will tell of. */
export function bytesToFetch({ disks, ram }: CheckpointContents): number {
  const chunks = disks.flatMap((disk) => disk.chunks);
  return [...chunks.map(({ length }) => length), ...ram.map(({ blob }) => blob.size)].reduce((a, b) => a + b, 0);
}

/**
 * Makes a disk of a checkpoint as a qcow2 file that stands alone, every chunk checked, durable when this resolves.
 * A registry that goes away in the middle is waited for.
 * What a failed attempt made stays, for the next one.
 * @throws StillpointError IMAGE_CORRUPT, IMAGE_NOT_FOUND, REGISTRY_UNREACHABLE, SPACE_INSUFFICIENT
 */
export async function fetchDisk(disk: CheckpointDisk, { path, signal, ...fetch }: FetchFile): Promise<void> {
  const isResumed = await exists(path);
  if (!isResumed) await createEmpty({ path, sizeBytes: disk.virtualSizeBytes });
  await using guest = await openGuestDisk({ path, format: "qcow2", writable: true });
  const limit = chunksAtATime(disk.chunkSizeBytes, MOST_AT_A_TIME);
  const source = { registry: fetch.registry, repository: fetch.checkpoint.repository };
  const patience = new Patience();
  const isThere = async ({ offset, length, contentDigest }: ChunkDescriptor) =>
    isResumed && isContent(await guest.read(offset, length), contentDigest);
  await inParallel(disk.chunks, { limit, signal }, async (chunk, aborted) => {
    if (!(await isThere(chunk))) {
      const content = await patience.outlast(aborted, () => fetchChunk(source, chunk, aborted));
      if (isResumed) await guest.write(chunk.offset, content);
      else for (const { at, bytes } of dataPieces(content)) await guest.write(chunk.offset + at, bytes);
    }
    await fetch.onBytes?.(chunk.length);
  });
  await guest.flush();
}

/** Makes the file of a checkpoint's compressed RAM; as `fetchDisk`. */
export async function fetchRam({ registry, checkpoint, path, onBytes, signal }: FetchFile): Promise<void> {
  const patience = new Patience();
  {
    await using file = await open(path, (await exists(path)) ? "r+" : "wx+", 0o600);
    await file.truncate(checkpoint.config.ram?.sizeBytes ?? 0);
    await inParallel(checkpoint.ram, { limit: MOST_AT_A_TIME, signal }, async ({ offset, blob }, aborted) => {
      const { buffer } = await file.read(Buffer.alloc(blob.size), 0, blob.size, offset);
      if (digestOf(buffer) !== blob.digest) {
        const piece = await patience.outlast(aborted, () => registry.readBlob(checkpoint.repository, blob, aborted));
        await file.write(piece, 0, blob.size, offset);
      }
      await onBytes?.(blob.size);
    });
    await file.sync();
  }
  const hash = createHash("sha256");
  await pipeline(createReadStream(path, { highWaterMark: 2 ** 20 }), hash);
  if (`sha256:${hash.digest("hex")}` === checkpoint.config.ram?.digest) return;
  throw new StillpointError("IMAGE_CORRUPT", "the RAM in the registry is not what the checkpoint says");
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
