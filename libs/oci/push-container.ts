import { checkpointChunkSize, chunkMapDigest } from "./checkpoint-artifact.ts";
import { ChunkSender } from "./chunk-sender.ts";
import type { ContainerCheckpointConfig, ContainerCheckpointContents, RemoteVolume } from "./container-artifact.ts";
import { chunkLayer, readChunks } from "./disk-chunks.ts";
import { cancellable, inParallel } from "./in-parallel.ts";
import { type Descriptor, mediaTypes } from "./manifest.ts";
import type { Progress } from "./progress.ts";
import { type CheckpointTarget, publishCheckpoint } from "./publish-checkpoint.ts";
import type { PushedImage } from "./pushed-image.ts";
import { alignArchive } from "./volume-archive.ts";

/** The files of a volume, as a tar archive in the pax format that is always the same for the same files. */
export interface VolumeToPush {
  readonly id: string;
  /** About how large it is; says how large its chunks are. */
  readonly sizeBytes: number;
  /** @param signal ends what writes it */
  open(signal: AbortSignal): { readonly archive: AsyncIterable<Buffer>; digest(): string };
}

export interface PushContainerCheckpoint extends CheckpointTarget {
  readonly config: Omit<ContainerCheckpointConfig, "version" | "volumes">;
  /** In the same repository already, and how many bytes of it were sent for this. */
  readonly image: PushedImage & { readonly sentBytes: number };
  readonly volumes: readonly VolumeToPush[];
  /** Of an earlier checkpoint in the repository. */
  readonly known: readonly RemoteVolume[];
  /** After each chunk; what it gives is waited for. */
  readonly onProgress?: (progress: Progress) => Promise<void> | void;
  readonly signal: AbortSignal;
}

export interface PushedContainerCheckpoint {
  readonly descriptor: Descriptor;
  /** Bytes of blobs and manifests that the registry did not have. */
  readonly sentBytes: number;
  /** Of all that the checkpoint consists of in the registry. */
  readonly totalBytes: number;
  readonly sentChunks: number;
  readonly totalChunks: number;
  readonly contents: Pick<ContainerCheckpointContents, "config" | "image"> & { readonly layers: readonly Descriptor[] };
}

const AT_A_TIME = 8;

/**
 * Pushes a container's checkpoint: what it names is an index of the container's image, which any client can run, and of
 * the volumes in chunks. Only what the registry lacks is sent; the index comes last. Interrupted it leaves nothing that
 * can be seen, and goes on where it was when it is repeated.
 * @throws StillpointError REGISTRY_UNREACHABLE, CANCELLED
 */
export async function pushContainerCheckpoint(push: PushContainerCheckpoint): Promise<PushedContainerCheckpoint> {
  return await cancellable(`the push to ${push.repository}:${push.tag}`, push.signal, () => pushWhole(push));
}

async function pushWhole(push: PushContainerCheckpoint): Promise<PushedContainerCheckpoint> {
  const { registry, repository, tag, signal } = push;
  const known = push.known.flatMap(({ chunks }) => chunks.map((chunk) => chunkLayer(chunk)));
  const sender = await ChunkSender.start({ registry, repository, tag, signal }, known);
  const volumes: RemoteVolume[] = [];
  const progress = { doneBytes: 0, totalBytes: push.volumes.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) };
  const tell = async (bytes: number) => {
    progress.doneBytes += bytes;
    const totalBytes = Math.max(progress.totalBytes, progress.doneBytes);
    await push.onProgress?.({ ...progress, totalBytes, transferredBytes: sender.counts.transferredBytes });
  };
  for (const volume of push.volumes) volumes.push(await sendVolume(volume, sender, { tell, signal }));
  return await publish(push, sender, volumes);
}

interface Sending {
  readonly tell: (bytes: number) => Promise<void>;
  readonly signal: AbortSignal;
}

async function sendVolume(volume: VolumeToPush, sender: ChunkSender, { tell, signal }: Sending): Promise<RemoteVolume> {
  const { id } = volume;
  const chunkSizeBytes = checkpointChunkSize(volume.sizeBytes);
  const ended = new AbortController();
  const opened = volume.open(AbortSignal.any([signal, ended.signal]));
  const layers: Descriptor[] = [];
  let virtualSizeBytes = 0;
  const send = async (chunks: readonly Buffer[]) => {
    const placed = chunks.map((content) => {
      const offset = virtualSizeBytes;
      virtualSizeBytes += content.length;
      return { content, offset };
    });
    await inParallel(placed, { limit: AT_A_TIME, signal }, async ({ content, offset }, aborted) => {
      const layer = await sender.sendChunk(content, { offset, disk: id }, aborted);
      if (layer !== undefined) layers.push(layer);
      await tell(content.length);
    });
  };
  try {
    for await (const chunks of inGroups(alignArchive(opened.archive, chunkSizeBytes), AT_A_TIME)) await send(chunks);
  } finally {
    ended.abort();
  }
  const cut = { virtualSizeBytes, chunkSizeBytes };
  return { id, ...cut, digest: opened.digest(), chunks: readChunks(layers, cut, id) };
}

async function* inGroups<Item>(items: AsyncIterable<Item>, size: number): AsyncGenerator<Item[]> {
  let group: Item[] = [];
  for await (const item of items) {
    group.push(item);
    if (group.length < size) continue;
    yield group;
    group = [];
  }
  if (group.length > 0) yield group;
}

async function publish(
  push: PushContainerCheckpoint,
  sender: ChunkSender,
  volumes: readonly RemoteVolume[],
): Promise<PushedContainerCheckpoint> {
  const { image } = push;
  const config: ContainerCheckpointConfig = {
    ...{ version: 1, ...push.config },
    volumes: volumes.map(({ chunks, ...volume }) => ({ ...volume, chunkMapDigest: chunkMapDigest(chunks) })),
  };
  const { layers, ...published } = await publishCheckpoint(push, sender, {
    artifactType: mediaTypes.containerCheckpoint,
    configType: mediaTypes.containerCheckpointConfig,
    config,
    layers: [],
    disks: volumes,
    image: image.descriptor,
  });
  return {
    ...published,
    sentBytes: image.sentBytes + published.sentBytes,
    totalBytes: image.totalBytes + published.totalBytes,
    contents: { config, image: image.descriptor, layers },
  };
}
