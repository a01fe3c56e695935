import { z } from "zod";
import { StillpointError } from "#libs/errors";
import type { Artifact } from "./artifact.ts";
import { chunkMapDigest } from "./checkpoint-artifact.ts";
import { isDigest } from "./digest.ts";
import { type ChunkDescriptor, plain, readChunks } from "./disk-chunks.ts";
import { type Descriptor, mediaTypes } from "./manifest.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

const text = z.string().max(1000);
const volumeShape = z.object({
  /** The name of a file: no path. */
  id: z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9._-]{0,199}$/),
  /** Of its archive as it is cut, with the zeros between entries. */
  virtualSizeBytes: z.int().positive().multipleOf(512),
  chunkSizeBytes: z
    .int()
    .min(64 * KIB)
    .max(64 * MIB),
  chunkMapDigest: z.string(),
  /** sha256 of the archive as tar writes it, without those zeros. */
  digest: z.string().refine(isDigest),
});
const configShape = z.object({
  version: z.literal(1),
  /** What it promises; the first that a reader should see. */
  consistency: text,
  kind: z.enum(["production", "offline"]),
  uid: text,
  /** Resource name where it was taken. */
  name: text,
  displayName: text,
  /** uid of its parent there; empty for none. */
  parent: text,
  createTime: text,
  /** ProtoJSON of the container's spec, without secrets. */
  spec: z.record(z.string(), z.unknown()),
  volumes: z.array(volumeShape).max(1000),
});

/** The config blob of a container's checkpoint. */
export type ContainerCheckpointConfig = z.infer<typeof configShape>;

/** A volume's archive in chunks. */
export interface RemoteVolume {
  readonly id: string;
  readonly virtualSizeBytes: number;
  readonly chunkSizeBytes: number;
  readonly digest: string;
  readonly chunks: readonly ChunkDescriptor[];
}

/** A container's checkpoint, checked: its writable layer on its image, and its volumes. */
export interface ContainerCheckpointContents {
  readonly config: ContainerCheckpointConfig;
  /** The image's manifest, with its platform. */
  readonly image: Descriptor;
  readonly volumes: readonly RemoteVolume[];
}

export function isContainerCheckpoint({ artifactType }: Pick<Artifact, "artifactType">): boolean {
  return artifactType === mediaTypes.containerCheckpoint;
}

/** Refuses what is not a container's checkpoint, before its config is read. @throws StillpointError IMAGE_INVALID */
export function containerConfigOf(artifact: Artifact): Descriptor {
  const { config, artifactType } = artifact;
  const isOurs = isContainerCheckpoint(artifact) && config.mediaType === mediaTypes.containerCheckpointConfig;
  if (isOurs && config.size <= 2 * MIB) return plain(config);
  throw invalid(`it is of type ${artifactType}`);
}

/** Reads the layers and the config, and trusts neither. @throws StillpointError IMAGE_INVALID */
export function readContainerCheckpoint(
  { layers, image }: Pick<Artifact, "layers" | "image">,
  configJson: unknown,
): ContainerCheckpointContents {
  const { success, data: config, error } = configShape.safeParse(configJson);
  if (!success) throw invalid("its config is not a container checkpoint's", error);
  if (image === undefined) throw invalid("it has no image");
  const volumes = config.volumes.map(({ chunkMapDigest: wanted, ...volume }) => {
    const chunks = readChunks(layers, volume, volume.id);
    if (chunkMapDigest(chunks) === wanted) return { ...volume, chunks };
    throw invalid(`the chunks of volume ${volume.id} are not those of its config`);
  });
  return { config, image, volumes };
}

function invalid(why: string, cause?: unknown): StillpointError {
  return new StillpointError("IMAGE_INVALID", `this is not a container's checkpoint that can be used: ${why}`, {
    cause,
  });
}
