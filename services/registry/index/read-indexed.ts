import { mediaTypes } from "#libs/oci";
import { type ManifestFacts, readManifest } from "../domain/manifest-facts.ts";
import type { ContentStore } from "../store/content-store.ts";
import type { RepositoryStore } from "../store/repository-store.ts";
import { blobKey, type IndexedManifest } from "./indexed-repository.ts";

export interface ReadDeps {
  readonly repositories: RepositoryStore;
  readonly content: ContentStore;
}

/** What lists show of a manifest; undefined when the repository does not have it, or it cannot be read. */
export async function readIndexed(
  { repositories, content }: ReadDeps,
  repository: string,
  digest: string,
): Promise<IndexedManifest | undefined> {
  const stored = await repositories.seeManifest(repository, digest);
  const bytes = stored && (await content.read(digest).catch(() => undefined));
  if (stored === undefined || bytes === undefined) return undefined;
  const facts = readManifest(bytes, stored.mediaType);
  const blobs = [...new Set(facts.blobs)].flatMap((blob) => [blobKey(blob), facts.sizes.get(blob) ?? 0]);
  return {
    artifactType: facts.artifactType ?? "",
    mediaType: stored.mediaType,
    virtualSizeBytes: await virtualSize(content, facts),
    pushTime: stored.pushTime,
    children: facts.manifests,
    blobs: Float64Array.from(blobs),
  };
}

/** From the config of a VM image, which an index of many manifests has in its first; 0 for everything else. */
export async function virtualSize(content: ContentStore, facts: ManifestFacts): Promise<number> {
  const config = await configOf(content, facts);
  if (config?.mediaType !== mediaTypes.vmImageConfig) return 0;
  const bytes = await content.read(config.digest).catch(() => undefined);
  const parsed: unknown = bytes === undefined ? undefined : JSON.parse(bytes.toString());
  const size = (parsed as { virtualSizeBytes?: unknown } | undefined)?.virtualSizeBytes;
  return typeof size === "number" ? size : 0;
}

async function configOf(content: ContentStore, { config, artifactType, manifests }: ManifestFacts) {
  const [first] = manifests;
  if (artifactType !== mediaTypes.vmImage || first === undefined) return config;
  const bytes = await content.read(first).catch(() => undefined);
  return bytes === undefined ? undefined : readManifest(bytes, mediaTypes.manifest).config;
}
