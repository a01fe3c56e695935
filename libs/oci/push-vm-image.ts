import { type FileHandle, open, stat } from "node:fs/promises";
import { dataRanges } from "#libs/disk-image";
import { StillpointError } from "#libs/errors";
import { type BlobSource, bytesSource, fileSource } from "./blob-source.ts";
import { ChunkSender } from "./chunk-sender.ts";
import { type ChunkPlace, chunksAtATime, chunksOf } from "./chunks.ts";
import { cancellable, inParallel } from "./in-parallel.ts";
import { type Descriptor, mediaTypes } from "./manifest.ts";
import type { Progress } from "./progress.ts";
import { parseReference } from "./reference.ts";
import type { RegistryClient } from "./registry-client.ts";
import { putArtifact } from "./transfer-artifact.ts";
import { chunkSizeFor, type VmImageConfig, vmImageArtifact } from "./vm-image.ts";

/** Enough to have one compress while others wait for the registry's disk. */
const MOST_AT_A_TIME = 8;

export interface PushVmImage {
  readonly registry: RegistryClient;
  /** `repository:tag`. */
  readonly reference: string;
  /** Path of a raw disk that nobody writes to. */
  readonly disk: string;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly cmdline?: string;
  /** Beyond this the image is an index of manifests; 4 MiB, which every registry takes, when left out. */
  readonly maxManifestBytes?: number;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

export interface PushedVmImage {
  readonly digest: string;
  readonly virtualSizeBytes: number;
  /** Chunks that are not all zeros. */
  readonly chunks: number;
  /** Of those, the ones that the registry did not have. */
  readonly sentChunks: number;
  /** Bytes of blobs that were sent. */
  readonly transferredBytes: number;
}

/**
 * Pushes a disk as a VM image: only its data, only the chunks that the registry lacks, the manifest last. An
 * interrupted push leaves nothing that can be seen; repeated, it goes on where it was.
 * @throws StillpointError NAME_INVALID, REGISTRY_UNREACHABLE, CANCELLED
 */
export async function pushVmImage(push: PushVmImage): Promise<PushedVmImage> {
  return await cancellable(`the push of ${push.reference}`, push.signal, () => sendImage(push));
}

async function sendImage(push: PushVmImage): Promise<PushedVmImage> {
  const { registry, maxManifestBytes, signal } = push;
  const { repository, tag } = parseReference(push.reference);
  if (tag === undefined) throw new StillpointError("NAME_INVALID", `push needs a tag: ${push.reference}`);
  const { size } = await stat(push.disk);
  const virtualSizeBytes = Math.ceil(size / 512) * 512;
  const config = { virtualSizeBytes, chunkSizeBytes: chunkSizeFor(virtualSizeBytes) };
  const boot = await bootSources(push);

  const sender = await ChunkSender.start({ registry, repository, tag, signal });
  const chunkLayers = await sendChunks(
    push,
    config,
    sender,
    boot.reduce((sum, it) => sum + it.source.sizeBytes, 0),
  );
  for (const { source } of boot) await sender.send(source, signal);
  const configSource = bytesSource(Buffer.from(JSON.stringify({ ...config, ...cmdlineOf(push) })));
  await sender.send(configSource, signal);

  const artifact = vmImageArtifact({
    config: descriptor(mediaTypes.vmImageConfig, configSource),
    boot: boot.map(({ mediaType, source }) => descriptor(mediaType, source)),
    chunks: chunkLayers,
    chunkSizeBytes: config.chunkSizeBytes,
  });
  const stored = await putArtifact(registry, { repository, tag, maxManifestBytes }, artifact, signal);
  return { digest: stored.descriptor.digest, virtualSizeBytes, chunks: chunkLayers.length, ...sender.counts };
}

async function sendChunks(
  { disk, onProgress, signal }: PushVmImage,
  config: VmImageConfig,
  sender: ChunkSender,
  otherBytes: number,
): Promise<Descriptor[]> {
  const places = chunksOf(await dataRanges(disk, "raw", { signal }), config);
  // A manifest has at least one layer, also that of an empty disk.
  if (places.length === 0) places.push({ offset: 0, length: Math.min(config.chunkSizeBytes, config.virtualSizeBytes) });
  const totalBytes = places.reduce((sum, { length }) => sum + length, otherBytes);
  let doneBytes = 0;
  const layers = new Map<number, Descriptor>();
  await using file = await open(disk, "r");
  await inParallel(
    places,
    { limit: chunksAtATime(config.chunkSizeBytes, MOST_AT_A_TIME), signal },
    async (place, aborted) => {
      const content = await readChunk(file, place);
      const layer = await sender.sendChunk(content, { offset: place.offset, keepZeros: places.length === 1 }, aborted);
      if (layer !== undefined) layers.set(place.offset, layer);
      doneBytes += place.length;
      onProgress?.({ doneBytes, totalBytes, transferredBytes: sender.counts.transferredBytes });
    },
  );
  return places.flatMap(({ offset }) => layers.get(offset) ?? []);
}

async function bootSources({ kernel, initrd, signal }: PushVmImage) {
  const files = [
    { mediaType: mediaTypes.kernel, path: kernel },
    { mediaType: mediaTypes.initrd, path: initrd },
  ];
  const sources: { mediaType: string; source: BlobSource }[] = [];
  for (const { mediaType, path } of files) {
    if (path !== undefined) sources.push({ mediaType, source: await fileSource(path, signal) });
  }
  return sources;
}

function descriptor(mediaType: string, { digest, sizeBytes }: BlobSource): Descriptor {
  return { mediaType, digest, size: sizeBytes };
}

function cmdlineOf({ cmdline }: PushVmImage): { cmdline?: string } {
  return cmdline === undefined ? {} : { cmdline };
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
