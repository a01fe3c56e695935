import { LRUCache } from "lru-cache";
import { readManifest } from "../domain/manifest-facts.ts";
import type { ManifestParts, RepositoryState } from "../domain/reachability.ts";
import type { ContentStore } from "../store/content-store.ts";
import type { RepositoryStore } from "../store/repository-store.ts";
import type { Intents } from "./intents.ts";

export interface ReaderDeps {
  readonly repositories: RepositoryStore;
  readonly content: ContentStore;
  readonly intents: Intents;
}

const CACHED_DIGESTS = 1_000_000;
const AT_ONCE = 64;

/** Reads what a repository refers to. */
export class RepositoryReader {
  readonly #deps: ReaderDeps;
  /** What a manifest says never changes. */
  readonly #parts = new LRUCache<string, ManifestParts>({
    maxSize: CACHED_DIGESTS,
    sizeCalculation: ({ blobs, manifests }) => 1 + blobs.length + manifests.length,
  });

  constructor(deps: ReaderDeps) {
    this.#deps = deps;
  }

  /**
   * Pushes are read first: a manifest whose push is over by then is there already.
   * @throws when a manifest is there but not its content, since nobody can tell then what it refers to
   */
  async read(repository: string): Promise<RepositoryState> {
    const { repositories, intents } = this.#deps;
    const claims = (await intents.live("pushing")).filter((claim) => claim.repository === repository);
    const pushing = new Set(claims.flatMap(({ digests }) => digests));
    const digests = await repositories.digests(repository, "_manifests");
    const manifests = new Map<string, ManifestParts>();
    await inGroups(digests, async (digest) => {
      const parts = await this.parts(repository, digest);
      if (parts !== undefined) manifests.set(digest, parts);
    });
    const tags = new Map<string, string>();
    await inGroups(await repositories.tags(repository), async (tag) => {
      const found = await repositories.tag(repository, tag);
      if (found !== undefined) tags.set(tag, found.digest);
    });
    return { tags, manifests, pushing };
  }

  /** What a manifest refers to; undefined when the repository does not have it any more. */
  async parts(repository: string, digest: string): Promise<ManifestParts | undefined> {
    const cached = this.#parts.get(digest);
    if (cached !== undefined) return cached;
    const { repositories, content } = this.#deps;
    const link = await repositories.link(repository, "_manifests", digest);
    if (link === undefined) return undefined;
    const bytes = await content.read(digest).catch(async (error: unknown) => {
      if ((await repositories.link(repository, "_manifests", digest)) !== undefined) throw error;
    });
    if (bytes === undefined) return undefined;
    const { blobs, manifests, subject } = readManifest(bytes, link.mediaType);
    const parts = { blobs, manifests, ...(subject !== undefined && { subject }) };
    this.#parts.set(digest, parts);
    return parts;
  }
}

/** Does something with each, a few at a time. */
export async function inGroups<Item>(items: readonly Item[], work: (item: Item) => Promise<unknown>): Promise<void> {
  for (let start = 0; start < items.length; start += AT_ONCE) {
    await Promise.all(items.slice(start, start + AT_ONCE).map(work));
  }
}
