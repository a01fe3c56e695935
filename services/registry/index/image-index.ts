import type { Logger } from "#libs/logger";
import { inGroups } from "../collect/repository-reader.ts";
import type { ContentStore } from "../store/content-store.ts";
import type { RepositoryStore } from "../store/repository-store.ts";
import { IndexedRepository, placeOf } from "./indexed-repository.ts";
import { readIndexed } from "./read-indexed.ts";

export interface ImageIndexDeps {
  readonly repositories: RepositoryStore;
  readonly content: ContentStore;
  readonly logger: Logger;
}

/** What was changed in a repository. */
export interface Changed {
  readonly repository: string;
  readonly tags: readonly string[];
  readonly digests: readonly string[];
}

export interface ListedImage {
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
  readonly artifactType: string;
  readonly mediaType: string;
  readonly sizeBytes: number;
  readonly sharedBytes: number;
  readonly virtualSizeBytes: number;
  readonly pushTime: Date;
}

export interface ListedRepository {
  readonly repository: string;
  readonly tags: number;
  readonly manifests: number;
  readonly sizeBytes: number;
  readonly sharedBytes: number;
}

const PAGE = 1_000;

/**
 * All images in memory, so that a page of them costs no more than the page. It is made from the store at the start and
 * from time to time, and follows what is told to it in between; nothing but lists depends on it.
 */
export class ImageIndex {
  readonly #deps: ImageIndexDeps;
  #repositories = new Map<string, IndexedRepository>();
  /** In order. */
  #names: string[] = [];
  /** How many manifests of all repositories need a blob. */
  #needs = new Map<number, number>();
  #last: Promise<void> = Promise.resolve();

  constructor(deps: ImageIndexDeps) {
    this.#deps = deps;
  }

  /** Reads what was changed, one change after the other; `settled` waits for it. */
  follow(changed: Changed): void {
    this.#inTurn(() => this.#refresh(changed));
  }

  /** Reads everything anew. */
  rebuild(): void {
    this.#inTurn(() => this.#readAll());
  }

  /** Resolves when what was told before is in it. */
  async settled(): Promise<void> {
    await this.#last;
  }

  /** The images after one, in order of repository and tag. */
  images(after: { repository: string; tag: string } | undefined, limit: number): ListedImage[] {
    const listed: ListedImage[] = [];
    const start = after === undefined ? 0 : placeOf(this.#names, after.repository);
    for (let place = start; place < this.#names.length && listed.length < limit; place += 1) {
      const repository = this.#names[place] ?? "";
      const afterTag = repository === after?.repository ? after.tag : "";
      listed.push(...this.#imagesOf(repository, afterTag, limit - listed.length));
    }
    return listed;
  }

  #imagesOf(repository: string, afterTag: string, limit: number): ListedImage[] {
    const tags = this.#repositories.get(repository)?.tagsInOrder() ?? [];
    const from = afterTag === "" ? 0 : placeOf(tags, `${afterTag}\0`);
    const wanted = tags.slice(from, from + limit);
    return wanted.map((tag) => this.#image(repository, tag)).filter((image) => image !== undefined);
  }

  /** The repositories after one, in order. */
  usage(after: string | undefined, limit: number): ListedRepository[] {
    const start = after === undefined ? 0 : placeOf(this.#names, `${after}\0`);
    return this.#names.slice(start, start + limit).map((repository) => {
      const known = this.#repositories.get(repository) ?? new IndexedRepository();
      const blobs = new Map<number, { bytes: number; needs: number }>();
      for (const digest of known.manifests.keys()) known.blobsOf(digest, blobs);
      // Children were counted with their index, too: what counts here is who has them outside.
      const own = new Map<number, number>();
      for (const { blobs: parts } of known.manifests.values()) countKeys(own, parts, 1);
      const size = this.#sizes(blobs, (key) => own.get(key) ?? 0);
      return { repository, tags: known.tags.size, manifests: known.manifests.size, ...size };
    });
  }

  /** Size of an image, and how much of it others need too; undefined when it is not known yet. */
  sizeOf(repository: string, digest: string): { sizeBytes: number; sharedBytes: number } | undefined {
    const known = this.#repositories.get(repository);
    if (known === undefined || !known.manifests.has(digest)) return undefined;
    const blobs = known.blobsOf(digest);
    return this.#sizes(blobs, (key) => blobs.get(key)?.needs ?? 0);
  }

  #sizes(blobs: ReadonlyMap<number, { bytes: number }>, ownNeeds: (key: number) => number) {
    let [sizeBytes, sharedBytes] = [0, 0];
    for (const [key, { bytes }] of blobs) {
      sizeBytes += bytes;
      if ((this.#needs.get(key) ?? 0) > ownNeeds(key)) sharedBytes += bytes;
    }
    return { sizeBytes, sharedBytes };
  }

  #image(repository: string, tag: string): ListedImage | undefined {
    const known = this.#repositories.get(repository);
    const named = known?.tags.get(tag);
    const manifest = named && known?.manifests.get(named.digest);
    const size = named && this.sizeOf(repository, named.digest);
    if (named === undefined || manifest === undefined || size === undefined) return undefined;
    const { artifactType, mediaType, virtualSizeBytes } = manifest;
    const { digest, pushTime } = named;
    return { repository, tag, digest, pushTime, artifactType, mediaType, virtualSizeBytes, ...size };
  }

  #inTurn(work: () => Promise<void>): void {
    this.#last = this.#last.then(work).catch((err: unknown) => {
      this.#deps.logger.error({ err }, "the index of images could not be brought up to date");
    });
  }

  async #readAll(): Promise<void> {
    const { repositories } = this.#deps;
    const known = new Set<string>();
    for (let after: string | undefined, page: string[]; ; after = page.at(-1)) {
      page = await repositories.list({ after, limit: PAGE });
      for (const repository of page) {
        known.add(repository);
        const tags = await repositories.tags(repository);
        const digests = await repositories.digests(repository, "_manifests");
        const gone = this.#repositories.get(repository);
        await this.#refresh({
          repository,
          tags: [...new Set([...tags, ...(gone?.tags.keys() ?? [])])],
          digests: [...new Set([...digests, ...(gone?.manifests.keys() ?? [])])],
        });
      }
      if (page.length < PAGE) break;
    }
    for (const name of this.#names.filter((it) => !known.has(it))) this.#forget(name);
  }

  async #refresh({ repository, tags, digests }: Changed): Promise<void> {
    const { repositories } = this.#deps;
    const known = this.#enter(repository);
    await inGroups(digests, (digest) => this.#readManifest(repository, digest));
    await inGroups(tags, async (tag) => {
      const facts = await repositories.tag(repository, tag);
      known.setTag(tag, facts);
      if (facts !== undefined && !known.manifests.has(facts.digest)) await this.#readManifest(repository, facts.digest);
    });
    if (known.manifests.size === 0 && known.tags.size === 0) this.#forget(repository);
  }

  async #readManifest(repository: string, digest: string): Promise<void> {
    const known = this.#enter(repository);
    const now = await readIndexed(this.#deps, repository, digest);
    const before = known.manifests.get(digest);
    if (before !== undefined) countKeys(this.#needs, before.blobs, -1);
    if (now === undefined) known.manifests.delete(digest);
    else {
      known.manifests.set(digest, now);
      countKeys(this.#needs, now.blobs, 1);
    }
  }

  #enter(repository: string): IndexedRepository {
    const known = this.#repositories.get(repository) ?? new IndexedRepository();
    if (!this.#repositories.has(repository)) {
      this.#names.splice(placeOf(this.#names, repository), 0, repository);
      this.#repositories.set(repository, known);
    }
    return known;
  }

  #forget(repository: string): void {
    this.#repositories.delete(repository);
    this.#names = this.#names.filter((name) => name !== repository);
  }
}

function countKeys(counts: Map<number, number>, blobs: Float64Array, by: number): void {
  for (let place = 0; place < blobs.length; place += 2) {
    const key = blobs[place] ?? 0;
    const count = (counts.get(key) ?? 0) + by;
    if (count === 0) counts.delete(key);
    else counts.set(key, count);
  }
}
