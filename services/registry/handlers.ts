import type { Image, ImagesServiceImplementation } from "#contracts/registry/v1/registry";
import type { authorise } from "#libs/auth";
import { StillpointError } from "#libs/errors";
import { isDigest, mediaTypes, parseReference, type Reference, referenceText } from "#libs/oci";
import type { CallScope } from "#libs/rpc";
import type { Removals } from "./collect/removals.ts";
import { type ManifestFacts, readManifest } from "./domain/manifest-facts.ts";
import type { ContentStore } from "./store/content-store.ts";
import type { RepositoryStore, StoredManifest } from "./store/repository-store.ts";

export interface ImagesDeps {
  readonly content: ContentStore;
  readonly repositories: RepositoryStore;
  readonly removals: Removals;
  readonly authorise: typeof authorise;
}

/** The Images service: what is stored, without its bytes. */
export function imagesHandlers(deps: ImagesDeps): ImagesServiceImplementation<CallScope> {
  return {
    async getImage({ reference }, { principal }) {
      const wanted = parseReference(reference);
      deps.authorise(principal, "get", `repositories/${wanted.repository}`);
      return await readImage(deps, wanted);
    },
    async listImages(_request, { principal }) {
      deps.authorise(principal, "list", "repositories/");
      const names = (await deps.repositories.list()).sort();
      const images = await Promise.all(names.map((repository) => listRepository(deps, repository)));
      return { images: images.flat() };
    },
    async deleteImage({ reference }, { principal }) {
      const wanted = parseReference(reference);
      deps.authorise(principal, "delete", `repositories/${wanted.repository}`);
      await deleteImage(deps, wanted);
      return {};
    },
  };
}

async function listRepository(deps: ImagesDeps, repository: string): Promise<Image[]> {
  const tags = (await deps.repositories.tags(repository)).sort();
  const images = tags.map((tag) => readImage(deps, { repository, tag }).catch(goneMeanwhile));
  return (await Promise.all(images)).filter((image) => image !== undefined);
}

async function readImage(deps: ImagesDeps, reference: Reference): Promise<Image> {
  const { stored, facts, pushTime } = await resolve(deps, reference);
  return {
    reference: referenceText(reference),
    repository: reference.repository,
    tag: reference.tag ?? "",
    digest: stored.digest,
    artifactType: facts.artifactType ?? "",
    mediaType: facts.mediaType,
    sizeBytes: facts.sizeBytes,
    virtualSizeBytes: await virtualSize(deps, facts),
    pushTime,
  };
}

async function deleteImage({ removals }: ImagesDeps, reference: Reference): Promise<void> {
  const { repository, tag = "", digest } = reference;
  const wasThere = digest === undefined ? removals.tag(repository, tag) : removals.manifest(repository, digest);
  if (!(await wasThere)) throw notFound(reference);
}

interface Resolved {
  readonly stored: StoredManifest;
  readonly facts: ManifestFacts;
  readonly pushTime: Date;
}

async function resolve({ repositories, content }: ImagesDeps, reference: Reference): Promise<Resolved> {
  const { repository, tag } = reference;
  const tagged = reference.digest === undefined ? await repositories.tag(repository, tag ?? "") : undefined;
  const digest = reference.digest ?? tagged?.digest ?? "";
  const stored = isDigest(digest) ? await repositories.manifest(repository, digest) : undefined;
  if (stored === undefined) throw notFound(reference);
  const facts = readManifest(await content.read(digest), stored.mediaType);
  return { stored, facts, pushTime: tagged?.pushTime ?? stored.pushTime };
}

/** From the config of a VM image; 0 for everything else. */
async function virtualSize({ content }: ImagesDeps, { config }: ManifestFacts): Promise<number> {
  if (config?.mediaType !== mediaTypes.vmImageConfig) return 0;
  const { virtualSizeBytes }: { virtualSizeBytes?: unknown } = JSON.parse(
    (await content.read(config.digest)).toString(),
  );
  return typeof virtualSizeBytes === "number" ? virtualSizeBytes : 0;
}

function goneMeanwhile(error: unknown): undefined {
  if (!(error instanceof StillpointError) || error.reason !== "IMAGE_NOT_FOUND") throw error;
}

function notFound(reference: Reference): StillpointError {
  return new StillpointError("IMAGE_NOT_FOUND", `there is no image ${referenceText(reference)}`);
}
