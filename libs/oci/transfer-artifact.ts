import { StillpointError } from "#libs/errors";
import {
  type Artifact,
  type ArtifactToPack,
  emptyBlob,
  emptyDescriptor,
  packArtifact,
  unpackArtifact,
} from "./artifact.ts";
import { bytesSource } from "./blob-source.ts";
import { type Descriptor, mediaTypes } from "./manifest.ts";
import type { RegistryClient } from "./registry-client.ts";

/** An artifact as it lies in a registry. */
export interface FoundArtifact extends Artifact {
  /** Of the manifest that stands for the whole. */
  readonly descriptor: Descriptor;
}

export interface StoredArtifact {
  readonly descriptor: Descriptor;
  /** Bytes of manifests that the registry did not have. */
  readonly sentBytes: number;
  /** Bytes of all its manifests. */
  readonly totalBytes: number;
}

/** Where an artifact goes. */
export interface ArtifactTarget {
  readonly repository: string;
  /** Left out: it has no name but its digest. */
  readonly tag?: string;
  /** What has to be there before the artifact can be seen: its referrers. */
  readonly before?: (top: Descriptor) => Promise<void>;
  /** Beyond this an index of manifests is made; `MAX_MANIFEST_BYTES` when left out. */
  readonly maxManifestBytes?: number | undefined;
}

/** Stores an artifact whose blobs are all there: the manifests that it lists first, what stands for the whole last. */
export async function putArtifact(
  registry: RegistryClient,
  { repository, tag, before, maxManifestBytes }: ArtifactTarget,
  artifact: ArtifactToPack,
  signal?: AbortSignal,
): Promise<StoredArtifact> {
  const { top, parts, usesEmpty } = packArtifact(artifact, maxManifestBytes);
  let sentBytes = 0;
  if (usesEmpty && !(await registry.hasBlob(repository, emptyDescriptor.digest, signal))) {
    await registry.putBlob(repository, bytesSource(emptyBlob), signal);
  }
  for (const { descriptor, bytes } of parts) {
    if (await registry.hasManifest(repository, descriptor.digest, signal)) continue;
    await registry.putManifest(repository, descriptor.digest, { mediaType: mediaTypes.manifest, bytes }, signal);
    sentBytes += bytes.length;
  }
  await before?.(top.descriptor);
  if (!(await registry.hasManifest(repository, top.descriptor.digest, signal))) sentBytes += top.bytes.length;
  await registry.putManifest(
    repository,
    tag ?? top.descriptor.digest,
    { mediaType: top.descriptor.mediaType, bytes: top.bytes },
    signal,
  );
  const totalBytes = [top, ...parts].reduce((sum, { bytes }) => sum + bytes.length, 0);
  return { descriptor: top.descriptor, sentBytes, totalBytes };
}

/** The artifact behind a tag or digest; undefined when there is none. @throws StillpointError IMAGE_INVALID */
export async function getArtifact(
  registry: RegistryClient,
  repository: string,
  reference: string,
  signal?: AbortSignal,
): Promise<FoundArtifact | undefined> {
  const top = await registry.getManifest(repository, reference, signal);
  if (top === undefined) return undefined;
  const artifact = await unpackArtifact(top.bytes, async ({ digest }) => {
    const part = await registry.getManifest(repository, digest, signal);
    if (part !== undefined) return part.bytes;
    throw new StillpointError("IMAGE_NOT_FOUND", `the registry lacks manifest ${digest} in ${repository}`);
  });
  return { ...artifact, descriptor: top.descriptor };
}
