import { z } from "zod";
import { StillpointError } from "#libs/errors";
import { type Descriptor, type Manifest, mediaTypes } from "./manifest.ts";

/** The config blob of a VM image. */
export interface VmImageConfig {
  /** Size of the disk that the guest sees; a multiple of 512. */
  readonly virtualSizeBytes: number;
  /** Every chunk lies at a multiple of this; only the last may be shorter. */
  readonly chunkSizeBytes: number;
  /** Kernel command line for images with a kernel of their own. */
  readonly cmdline?: string;
}

/** A chunk of the disk that is not all zeros. */
export interface ChunkDescriptor {
  readonly offset: number;
  readonly length: number;
  /** Of the bytes before compression. */
  readonly contentDigest: string;
  readonly blob: Descriptor;
}

/** A VM image's manifest and config, checked. */
export interface VmImage extends VmImageConfig {
  readonly chunks: readonly ChunkDescriptor[];
  readonly kernel?: Descriptor;
  readonly initrd?: Descriptor;
}

export const annotations = {
  offset: "vnd.stillpoint.disk.offset",
  contentDigest: "vnd.stillpoint.disk.digest",
} as const;

const MIB = 2 ** 20;
/** A chunk's descriptor takes about 320 bytes; a manifest may have 4 MiB. */
export const MAX_CHUNKS = 12_000;
const chunkSizes = [MIB, 4 * MIB, 16 * MIB, 64 * MIB];

/**
 * How large the chunks of a disk of that size are: a function of nothing else, so that the next version of a disk is
 * cut at the same places. The largest size serves sparse disks beyond 750 GiB too.
 */
export function chunkSizeFor(virtualSizeBytes: number): number {
  return chunkSizes.find((size) => virtualSizeBytes / size <= MAX_CHUNKS) ?? 64 * MIB;
}

const digest = z.string().regex(/^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$/);
const descriptorShape = z.object({
  mediaType: z.string(),
  digest,
  size: z.int().min(0),
  annotations: z.record(z.string(), z.string()).optional(),
});
const manifestShape = z.object({
  artifactType: z.literal(mediaTypes.vmImage),
  config: descriptorShape.extend({ mediaType: z.literal(mediaTypes.vmImageConfig), size: z.int().max(MIB) }),
  layers: z.array(descriptorShape).min(1),
});
const configShape = z.object({
  virtualSizeBytes: z.int().positive().multipleOf(512),
  chunkSizeBytes: z
    .int()
    .min(65_536)
    .max(64 * MIB),
  cmdline: z.string().max(4096).optional(),
});

/** The config's descriptor of a VM image's manifest. @throws StillpointError IMAGE_INVALID when it is something else */
export function configOf(manifest: unknown): Descriptor {
  const { config } = parse(manifestShape, manifest, "manifest");
  return { mediaType: config.mediaType, digest: config.digest, size: config.size };
}

/**
 * Reads manifest and config of a VM image; trusts neither: chunks lie inside the disk, aligned and without overlap.
 * @throws StillpointError IMAGE_INVALID
 */
export function readVmImage(manifest: unknown, config: unknown): VmImage {
  const { layers } = parse(manifestShape, manifest, "manifest");
  const { cmdline, ...sizes } = parse(configShape, config, "config");
  const chunks = layers.filter(({ mediaType }) => mediaType === mediaTypes.diskChunk).map((it) => readChunk(it, sizes));
  if (new Set(chunks.map(({ offset }) => offset)).size !== chunks.length) throw invalid("two chunks overlap");
  const kernel = layers.find(({ mediaType }) => mediaType === mediaTypes.kernel);
  const initrd = layers.find(({ mediaType }) => mediaType === mediaTypes.initrd);
  return {
    ...sizes,
    ...(cmdline !== undefined && { cmdline }),
    chunks,
    ...(kernel && { kernel: plain(kernel) }),
    ...(initrd && { initrd: plain(initrd) }),
  };
}

/** The chunks of a VM image's manifest by the digest of their content; none when it is another artifact. */
export function contentsOf(manifest: Buffer): Map<string, Descriptor> {
  const { success, data } = manifestShape.safeParse(JSON.parse(manifest.toString()));
  if (!success) return new Map();
  const chunks = data.layers.filter(({ mediaType }) => mediaType === mediaTypes.diskChunk);
  return new Map(
    chunks.flatMap((layer) => {
      const content = layer.annotations?.[annotations.contentDigest];
      return content === undefined ? [] : [[content, plain(layer)]];
    }),
  );
}

/** The manifest of a VM image; layers in the order kernel, initrd, chunks by offset. */
export function vmImageManifest(parts: { config: Descriptor; layers: readonly Descriptor[] }): Manifest {
  return { schemaVersion: 2, mediaType: mediaTypes.manifest, artifactType: mediaTypes.vmImage, ...parts };
}

type Layer = z.infer<typeof descriptorShape>;

function readChunk(layer: Layer, { virtualSizeBytes, chunkSizeBytes }: VmImageConfig): ChunkDescriptor {
  const offset = Number(layer.annotations?.[annotations.offset] ?? Number.NaN);
  const contentDigest = layer.annotations?.[annotations.contentDigest];
  if (!Number.isSafeInteger(offset) || offset < 0 || offset >= virtualSizeBytes || offset % chunkSizeBytes !== 0) {
    throw invalid("a chunk lies outside the disk");
  }
  if (contentDigest === undefined || !digest.safeParse(contentDigest).success) throw invalid("a chunk has no digest");
  const length = Math.min(chunkSizeBytes, virtualSizeBytes - offset);
  return { offset, length, contentDigest, blob: plain(layer) };
}

function plain({ mediaType, digest, size }: Layer): Descriptor {
  return { mediaType, digest, size };
}

function parse<Value>(shape: z.ZodType<Value>, value: unknown, part: string): Value {
  const { success, data, error } = shape.safeParse(value);
  if (success) return data;
  throw invalid(`its ${part} is not a VM image's`, error);
}

function invalid(why: string, cause?: unknown): StillpointError {
  return new StillpointError("IMAGE_INVALID", `this is not a VM image that can be used: ${why}`, { cause });
}
