import { z } from "zod";
import { StillpointError } from "#libs/errors";
import { digestOf } from "./digest.ts";
import { type Descriptor, mediaTypes } from "./manifest.ts";
import type { RegistryClient } from "./registry-client.ts";

const blobShape = z.object({ mediaType: z.string(), digest: z.string(), size: z.int().min(0) });
const manifestShape = z.object({ config: blobShape, layers: z.array(blobShape) });
const configShape = z.object({
  architecture: z.string(),
  os: z.string(),
  rootfs: z.object({ diff_ids: z.array(z.string()) }),
});

/** image-spec 1.1, media-types.md, "Compatibility Matrix": the same bytes under their other names. */
const ociNames: Readonly<Record<string, string>> = {
  [mediaTypes.dockerImageConfig]: mediaTypes.imageConfig,
  [mediaTypes.dockerImageLayer]: mediaTypes.imageLayer,
};

/** An image that an engine has pushed, as an OCI image. */
export interface PushedImage {
  /** Its manifest, with its platform. */
  readonly descriptor: Descriptor;
  readonly layers: readonly Descriptor[];
  /** Of the layers as they are unpacked, in the same order. */
  readonly diffIds: readonly string[];
  readonly totalBytes: number;
}

/**
 * Stores the OCI manifest of an image that an engine has pushed under a tag; engines may push in Docker's own format.
 * @throws StillpointError IMAGE_NOT_FOUND, IMAGE_INVALID
 */
export async function storeAsOci(
  registry: RegistryClient,
  { repository, tag, signal }: { readonly repository: string; readonly tag: string; readonly signal?: AbortSignal },
): Promise<PushedImage> {
  const found = await registry.getManifest(repository, tag, signal);
  if (found === undefined) throw new StillpointError("IMAGE_NOT_FOUND", `there is no ${repository}:${tag}`);
  const manifest = parse(manifestShape, found.bytes);
  const facts = parse(configShape, await registry.readBlob(repository, manifest.config, signal));
  const config = renamed(manifest.config);
  const layers = manifest.layers.map(renamed);
  const oci = { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers };
  const bytes = Buffer.from(JSON.stringify(oci));
  const digest = digestOf(bytes);
  await registry.putManifest(repository, digest, { mediaType: mediaTypes.manifest, bytes }, signal);
  const platform = { architecture: facts.architecture, os: facts.os };
  return {
    descriptor: { mediaType: mediaTypes.manifest, digest, size: bytes.length, platform },
    ...{ layers, diffIds: facts.rootfs.diff_ids },
    totalBytes: [config, ...layers].reduce((sum, { size }) => sum + size, bytes.length),
  };
}

const renamed = ({ mediaType, digest, size }: Descriptor): Descriptor => ({
  mediaType: ociNames[mediaType] ?? mediaType,
  ...{ digest, size },
});

function parse<Shape extends z.ZodType>(shape: Shape, bytes: Buffer): z.infer<Shape> {
  try {
    return shape.parse(JSON.parse(bytes.toString()));
  } catch (cause) {
    throw new StillpointError("IMAGE_INVALID", "the engine has pushed what is no image", { cause });
  }
}
