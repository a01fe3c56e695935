import { z } from "zod";
import { StillpointError } from "#libs/errors";
import type { Artifact, ArtifactToPack } from "./artifact.ts";
import { type ChunkDescriptor, groupChunks, plain, readChunks } from "./disk-chunks.ts";
import { type Descriptor, mediaTypes } from "./manifest.ts";

/** The config blob of a VM image. */
export interface VmImageConfig {
  /** Size of the disk that the guest sees; a multiple of 512. */
  readonly virtualSizeBytes: number;
  /** Every chunk lies at a multiple of this; only the last may be shorter. */
  readonly chunkSizeBytes: number;
  /** Kernel command line for images with a kernel of their own. */
  readonly cmdline?: string;
}

/** A VM image's manifest and config, checked. */
export interface VmImage extends VmImageConfig {
  readonly chunks: readonly ChunkDescriptor[];
  readonly kernel?: Descriptor;
  readonly initrd?: Descriptor;
}

const MIB = 2 ** 20;
/** More make it slow to list and to look at. */
const WANTED_CHUNKS = 12_000;
const chunkSizes = [MIB, 4 * MIB, 16 * MIB, 64 * MIB];

/**
 * How large the chunks of a disk of that size are: a function of nothing else, so that the next version of a disk is
 * cut at the same places. The largest size serves sparse disks beyond 750 GiB too.
 */
export function chunkSizeFor(virtualSizeBytes: number): number {
  return chunkSizes.find((size) => virtualSizeBytes / size <= WANTED_CHUNKS) ?? 64 * MIB;
}

const artifactShape = z.object({
  artifactType: z.literal(mediaTypes.vmImage),
  config: z.object({ mediaType: z.literal(mediaTypes.vmImageConfig), size: z.int().max(MIB) }),
});
const configShape = z.object({
  virtualSizeBytes: z.int().positive().multipleOf(512),
  chunkSizeBytes: z
    .int()
    .min(65_536)
    .max(64 * MIB),
  cmdline: z.string().max(4096).optional(),
});

/** The config's descriptor of a VM image. @throws StillpointError IMAGE_INVALID when it is something else */
export function configOf(artifact: Artifact): Descriptor {
  parse(artifactShape, artifact, "manifest");
  return plain(artifact.config);
}

/**
 * Reads the layers and the config of a VM image; trusts neither: chunks lie inside the disk, aligned, without overlap.
 * @throws StillpointError IMAGE_INVALID
 */
export function readVmImage(artifact: Artifact, config: unknown): VmImage {
  const { layers } = artifact;
  const { cmdline, ...sizes } = parse(configShape, config, "config");
  const kernel = layers.find(({ mediaType }) => mediaType === mediaTypes.kernel);
  const initrd = layers.find(({ mediaType }) => mediaType === mediaTypes.initrd);
  return {
    ...sizes,
    ...(cmdline !== undefined && { cmdline }),
    chunks: readChunks(layers, sizes),
    ...(kernel && { kernel: plain(kernel) }),
    ...(initrd && { initrd: plain(initrd) }),
  };
}

/** A VM image; layers in the order kernel, initrd, chunks by offset. */
export function vmImageArtifact({ config, boot, chunks, chunkSizeBytes }: VmImageParts): ArtifactToPack {
  return { artifactType: mediaTypes.vmImage, config, layers: boot, groups: groupChunks(chunks, chunkSizeBytes) };
}

interface VmImageParts {
  readonly config: Descriptor;
  readonly boot: readonly Descriptor[];
  readonly chunks: readonly Descriptor[];
  readonly chunkSizeBytes: number;
}

function parse<Value>(shape: z.ZodType<Value>, value: unknown, part: string): Value {
  const { success, data, error } = shape.safeParse(value);
  if (success) return data;
  throw invalid(`its ${part} is not a VM image's`, error);
}

function invalid(why: string, cause?: unknown): StillpointError {
  return new StillpointError("IMAGE_INVALID", `this is not a VM image that can be used: ${why}`, { cause });
}
