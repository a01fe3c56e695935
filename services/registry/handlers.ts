import type { Image, ImagesServiceImplementation } from "#contracts/registry/v1/registry";
import { type authorise, may } from "#libs/auth";
import { StillpointError } from "#libs/errors";
import { isDigest, isTag, parseReference, type Reference, referenceText } from "#libs/oci";
import { pageSize } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import type { ManifestPushes } from "./collect/manifest-pushes.ts";
import type { Removals } from "./collect/removals.ts";
import { type ManifestFacts, readManifest } from "./domain/manifest-facts.ts";
import type { Changes } from "./events/changes.ts";
import type { LastPulls } from "./events/last-pulls.ts";
import type { ImageIndex, ListedImage } from "./index/image-index.ts";
import { virtualSize } from "./index/read-indexed.ts";
import type { ContentStore } from "./store/content-store.ts";
import type { RepositoryStore, StoredManifest } from "./store/repository-store.ts";

export interface ImagesDeps {
  readonly content: ContentStore;
  readonly repositories: RepositoryStore;
  readonly manifestPushes: ManifestPushes;
  readonly removals: Removals;
  readonly index: ImageIndex;
  readonly lastPulls: LastPulls;
  readonly changes: Changes;
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
    async listImages({ pageSize: wanted, pageToken }, { principal }) {
      deps.authorise(principal, "list", "repositories/");
      const limit = pageSize(wanted, 500);
      await deps.index.settled();
      const page = deps.index.images(readToken(pageToken), limit);
      const last = page.at(-1);
      const nextPageToken = last === undefined || page.length < limit ? "" : referenceText(last);
      const shown = page.filter(({ repository }) => may(principal, "get", `repositories/${repository}`));
      return { images: await showImages(deps, shown), nextPageToken };
    },
    async deleteImage({ reference }, { principal, previousAttempts }) {
      const wanted = parseReference(reference);
      deps.authorise(principal, "delete", `repositories/${wanted.repository}`);
      const wasThere = await deleteImage(deps, wanted, principal.name);
      if (!wasThere && previousAttempts === 0) throw notFound(wanted);
      return {};
    },
    async tagImage({ reference, tag }, { principal }) {
      const wanted = parseReference(reference);
      deps.authorise(principal, "update", `repositories/${wanted.repository}`);
      if (!isTag(tag)) throw new StillpointError("NAME_INVALID", `"${tag}" is not a tag`);
      await tagImage(deps, { wanted, tag, actor: principal.name });
      return await readImage(deps, { repository: wanted.repository, tag });
    },
  };
}

function readToken(token: string): { repository: string; tag: string } | undefined {
  if (token === "") return undefined;
  const { repository, tag = "" } = parseReference(token);
  return { repository, tag };
}

async function showImages({ lastPulls }: ImagesDeps, images: readonly ListedImage[]): Promise<Image[]> {
  const pulls = await lastPulls.of(images);
  return images.map(({ repository, tag, digest, ...shown }, place) => ({
    ...shown,
    ...{ reference: referenceText({ repository, tag }), repository, tag, digest, pullTime: pulls[place] },
  }));
}

async function readImage(deps: ImagesDeps, reference: Reference): Promise<Image> {
  const { stored, facts, pushTime } = await resolve(deps, reference);
  const { repository } = reference;
  const known = deps.index.sizeOf(repository, stored.digest);
  const [pullTime] = await deps.lastPulls.of([{ repository, digest: stored.digest }]);
  return {
    reference: referenceText(reference),
    repository,
    tag: reference.tag ?? "",
    digest: stored.digest,
    artifactType: facts.artifactType ?? "",
    mediaType: facts.mediaType,
    ...(known ?? { sizeBytes: facts.sizeBytes, sharedBytes: 0 }),
    virtualSizeBytes: await virtualSize(deps.content, facts),
    pushTime,
    pullTime,
  };
}

/** False when it was not there. */
async function deleteImage({ removals, changes }: ImagesDeps, reference: Reference, actor: string): Promise<boolean> {
  const { repository, tag = "", digest } = reference;
  const wasThere = digest === undefined ? removals.tag(repository, tag) : removals.manifest(repository, digest);
  if (!(await wasThere)) return false;
  const removed = digest === undefined ? { tags: [tag], digests: [] } : { tags: [], digests: [digest] };
  await changes.tell({ action: "deleted", repository, actor, ...removed });
  return true;
}

interface Tagging {
  readonly wanted: Reference;
  readonly tag: string;
  readonly actor: string;
}

async function tagImage(deps: ImagesDeps, { wanted, tag, actor }: Tagging): Promise<void> {
  const { repository } = wanted;
  const { stored, facts } = await resolve(deps, wanted);
  const { digest, mediaType, sizeBytes } = stored;
  const bytes = await deps.content.read(digest);
  await deps.manifestPushes.push(repository, { bytes, manifest: { digest, mediaType, sizeBytes, tags: [tag] }, facts });
  await deps.changes.tell({
    action: "pushed",
    repository,
    actor,
    tags: [tag],
    digests: [digest],
    mediaType,
    sizeBytes,
  });
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

function notFound(reference: Reference): StillpointError {
  return new StillpointError("IMAGE_NOT_FOUND", `there is no image ${referenceText(reference)}`);
}
