import { z } from "zod";
import { StillpointError } from "#libs/errors";
import type { Artifact } from "./artifact.ts";
import { type Digest, digestOf } from "./digest.ts";
import { annotations, type ChunkDescriptor, plain, readChunks } from "./disk-chunks.ts";
import { type Descriptor, mediaTypes } from "./manifest.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

/** RAM is sent in pieces of this size, so that an interrupted push or pull goes on where it was. */
export const RAM_PIECE_BYTES = 8 * MIB;
/** Each is held in memory as a whole. */
const MAX_PIECE_BYTES = 64 * MIB;

/**
 * How large the chunks of a checkpoint's disk are: a function of its size alone, so that each checkpoint of a VM is
 * cut at the same places. Smaller ones send less for scattered changes: on a real ext4 disk 256 KiB send 1.3 times the
 * 64 KiB clusters that changed, 1 MiB 2.1 times, 4 MiB 3.9 times.
 */
export function checkpointChunkSize(virtualSizeBytes: number): number {
  if (virtualSizeBytes <= 128 * GIB) return 256 * KIB;
  return virtualSizeBytes <= 1024 * GIB ? MIB : 4 * MIB;
}

const text = z.string().max(1000);
const diskShape = z.object({
  id: z.string().regex(/^[a-z][a-z0-9]{0,15}$/),
  virtualSizeBytes: z.int().positive().multipleOf(512),
  chunkSizeBytes: z
    .int()
    .min(64 * KIB)
    .max(64 * MIB),
  chunkMapDigest: z.string(),
});
export const checkpointConfigShape = z.object({
  version: z.literal(1),
  /** What it promises; the first that a reader should see. */
  consistency: text,
  kind: z.enum(["production", "standard", "offline"]),
  uid: text,
  /** Resource name where it was taken. */
  name: text,
  displayName: text,
  /** uid of its parent there; empty for none. */
  parent: text,
  createTime: text,
  /** ProtoJSON of the VM's spec, without user data. */
  spec: z.record(z.string(), z.unknown()),
  /** What must be equal for RAM to be loaded again. */
  machine: z.record(z.string(), z.unknown()),
  /** Its user had paused the VM. */
  paused: z.boolean(),
  disks: z.array(diskShape).min(1).max(100),
  ram: z.object({ sizeBytes: z.int().min(0), digest: z.string() }).optional(),
  cmdline: z.string().max(4096).optional(),
});

/** The config blob of a checkpoint. */
export type CheckpointConfig = z.infer<typeof checkpointConfigShape>;

export interface CheckpointDisk {
  readonly id: string;
  readonly virtualSizeBytes: number;
  readonly chunkSizeBytes: number;
  readonly chunks: readonly ChunkDescriptor[];
}

/** A piece of the RAM file, as it is there. */
export interface RamPiece {
  readonly offset: number;
  readonly blob: Descriptor;
}

/** A checkpoint's layers and config, checked. */
export interface CheckpointContents {
  readonly config: CheckpointConfig;
  readonly disks: readonly CheckpointDisk[];
  /** In order, without a gap; none when there is no RAM. */
  readonly ram: readonly RamPiece[];
  readonly kernel?: Descriptor;
  readonly initrd?: Descriptor;
}

/** What a disk holds, in one digest: equal for equal content, cut alike. */
export function chunkMapDigest(chunks: readonly ChunkDescriptor[]): Digest {
  return digestOf(Buffer.from(chunks.map(({ offset, contentDigest }) => `${offset} ${contentDigest}\n`).join("")));
}

/** Refuses what is not a checkpoint, before its config is read. @throws StillpointError IMAGE_INVALID */
export function checkpointConfigOf({ artifactType, config }: Artifact): Descriptor {
  const isOurs = artifactType === mediaTypes.checkpoint && config.mediaType === mediaTypes.checkpointConfig;
  if (isOurs && config.size <= MIB) return plain(config);
  throw invalid(`it is of type ${artifactType}`);
}

/** Reads the layers and the config of a checkpoint, and trusts neither. @throws StillpointError IMAGE_INVALID */
export function readCheckpoint({ layers }: Pick<Artifact, "layers">, configJson: unknown): CheckpointContents {
  const { success, data: config, error } = checkpointConfigShape.safeParse(configJson);
  if (!success) throw invalid("its config is not a checkpoint's", error);
  const disks = config.disks.map(({ chunkMapDigest: wanted, ...disk }) => {
    const chunks = readChunks(layers, disk, disk.id);
    if (chunkMapDigest(chunks) !== wanted) throw invalid(`the chunks of disk ${disk.id} are not those of its config`);
    return { ...disk, chunks };
  });
  const kernel = layers.find(({ mediaType }) => mediaType === mediaTypes.kernel);
  const initrd = layers.find(({ mediaType }) => mediaType === mediaTypes.initrd);
  return {
    config,
    disks,
    ram: readRam(layers, config),
    ...(kernel && { kernel: plain(kernel) }),
    ...(initrd && { initrd: plain(initrd) }),
  };
}

/** The layer of a piece of RAM. */
export function ramLayer({ offset, blob }: RamPiece): Descriptor {
  return { ...plain(blob), mediaType: mediaTypes.ramPiece, annotations: { [annotations.offset]: String(offset) } };
}

function readRam(layers: readonly Descriptor[], { ram, kind }: CheckpointConfig): RamPiece[] {
  const pieces = layers
    .filter(({ mediaType }) => mediaType === mediaTypes.ramPiece)
    .map((layer) => ({ offset: Number(layer.annotations?.[annotations.offset]), blob: plain(layer) }))
    .sort((a, b) => a.offset - b.offset);
  let end = 0;
  for (const { offset, blob } of pieces) {
    if (offset !== end) throw invalid("its RAM has a gap");
    if (blob.size > MAX_PIECE_BYTES) throw invalid("a piece of its RAM is too large");
    end += blob.size;
  }
  if (end !== (ram?.sizeBytes ?? 0) || (kind === "standard") !== pieces.length > 0)
    throw invalid("its RAM is not whole");
  return pieces;
}

function invalid(why: string, cause?: unknown): StillpointError {
  return new StillpointError("IMAGE_INVALID", `this is not a checkpoint that can be used: ${why}`, { cause });
}
