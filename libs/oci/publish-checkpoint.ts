import { emptyBlob } from "./artifact.ts";
import { bytesSource } from "./blob-source.ts";
import type { CheckpointConfig } from "./checkpoint-artifact.ts";
import type { ChunkSender } from "./chunk-sender.ts";
import type { Digest } from "./digest.ts";
import { type ChunkDescriptor, chunkLayer, groupChunks } from "./disk-chunks.ts";
import type { Descriptor } from "./manifest.ts";
import { putReceipt } from "./receipt-referrer.ts";
import type { RegistryClient } from "./registry-client.ts";
import { putArtifact } from "./transfer-artifact.ts";

/** Where a checkpoint goes, and what is attached to it there. */
export interface CheckpointTarget {
  readonly registry: RegistryClient;
  readonly repository: string;
  readonly tag: string;
  /** JSON, attached as a referrer. */
  readonly receipt: object;
  /** The manifest of its parent in the same repository. */
  readonly subject?: Descriptor;
  readonly signal?: AbortSignal;
}

type Described = Pick<CheckpointConfig, "consistency" | "kind" | "displayName" | "name" | "createTime">;

/** A checkpoint whose chunks and other layers are in the registry already. */
interface CheckpointToPublish {
  readonly artifactType: string;
  readonly configType: string;
  readonly config: Described;
  /** Beside the chunks. */
  readonly layers: readonly Descriptor[];
  readonly disks: readonly {
    readonly id: string;
    readonly chunkSizeBytes: number;
    readonly chunks: readonly ChunkDescriptor[];
  }[];
  /** The manifest of a container's image. */
  readonly image?: Descriptor;
}

/** Sends what names a checkpoint's chunks. The tag comes last, after the receipt. */
export async function publishCheckpoint(
  { registry, repository, tag, signal, subject, receipt }: CheckpointTarget,
  sender: ChunkSender,
  { artifactType, configType, config, layers, disks, image }: CheckpointToPublish,
) {
  const source = bytesSource(Buffer.from(JSON.stringify(config)));
  for (const blob of [source, bytesSource(emptyBlob)]) await sender.send(blob, signal);
  const groups = disks.flatMap(({ id, chunks, chunkSizeBytes }) =>
    groupChunks(
      chunks.map((chunk) => chunkLayer(chunk, id)),
      chunkSizeBytes,
    ),
  );
  const artifact = {
    artifactType,
    config: { mediaType: configType, digest: source.digest, size: source.sizeBytes },
    ...{ layers, groups, annotations: annotationsOf(config) },
    ...(image && { image }),
    ...(subject && { subject }),
  };
  const before = (top: Descriptor) => putReceipt(registry, { repository, subject: top, receipt, sender, signal });
  const stored = await putArtifact(registry, { repository, tag, before }, artifact, signal);
  const all = [...layers, ...groups.flat()];
  const { sentChunks, transferredBytes } = sender.counts;
  return {
    descriptor: stored.descriptor,
    sentBytes: transferredBytes + stored.sentBytes,
    totalBytes: sizeOf([artifact.config, ...all]) + stored.totalBytes,
    sentChunks,
    totalChunks: groups.flat().length,
    layers: all,
  };
}

/** Each blob counts once. */
function sizeOf(layers: readonly Descriptor[]): number {
  const sizes = new Map<Digest, number>(layers.map(({ digest, size }) => [digest, size]));
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
}

/** What registries and other clients show of a checkpoint, of a VM or a container. */
function annotationsOf({ consistency, kind, displayName, name, createTime }: Described) {
  return {
    "org.opencontainers.image.created": createTime,
    "org.opencontainers.image.title": displayName,
    "vnd.stillpoint.checkpoint.name": name,
    "vnd.stillpoint.checkpoint.kind": kind,
    "vnd.stillpoint.checkpoint.consistency": consistency,
  };
}
