import type { Clock } from "#libs/clock";
import type { Logger } from "#libs/logger";
import type { ContentStore } from "../store/content-store.ts";
import { digestOfContent, keys } from "../store/keys.ts";
import type { ObjectStore } from "../store/object-store.ts";
import type { RepositoryStore } from "../store/repository-store.ts";
import type { Candidates } from "./candidates.ts";
import { inGroups, type RepositoryReader } from "./repository-reader.ts";

export interface VerificationDeps {
  readonly objects: ObjectStore;
  readonly repositories: RepositoryStore;
  readonly content: ContentStore;
  readonly reader: RepositoryReader;
  readonly candidates: Candidates;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly everyMs: number;
}

const PAGE = 1_000;
const CONTENT_AT_ONCE = 10_000;
/** Content is there a moment before the first link to it. */
const NEW_CONTENT_MS = 3_600_000;

/**
 * The full mark, from time to time: finds what the queue has forgotten, content that no repository has, and manifests
 * whose parts are lost.
 */
export class Verification {
  readonly #deps: VerificationDeps;

  constructor(deps: VerificationDeps) {
    this.#deps = deps;
  }

  async isDue(): Promise<boolean> {
    const { objects, clock, everyMs } = this.#deps;
    const last = await objects.head(keys.verified);
    if (last === undefined) await objects.put(keys.verified, "");
    return last !== undefined && clock.now().getTime() - last.modifiedTime.getTime() >= everyMs;
  }

  /** Every repository, each checked for losses on the way. */
  async *repositories(): AsyncIterable<string> {
    let after: string | undefined;
    do {
      const page = await this.#deps.repositories.known({ after, limit: PAGE });
      for (const repository of page) {
        await this.#reportLosses(repository);
        yield repository;
      }
      after = page.at(-1);
    } while (after !== undefined);
  }

  /** Marks the content that no repository has, and remembers that all was looked at. */
  async finish(): Promise<void> {
    const { objects, clock } = this.#deps;
    const some: string[] = [];
    const before = new Date(clock.now().getTime() - NEW_CONTENT_MS);
    for await (const key of objects.listBefore(keys.contents, before)) {
      some.push(digestOfContent(key));
      if (some.length >= CONTENT_AT_ONCE) await this.#markAll(some.splice(0));
    }
    await this.#markAll(some);
    await objects.put(keys.verified, "");
  }

  /** What is needed after all loses the mark at the next look at content. */
  async #markAll(digests: readonly string[]): Promise<void> {
    const { repositories, candidates } = this.#deps;
    const unneeded = new Set(digests);
    await inGroups(await repositories.known(), async (repository) => {
      for (const kind of ["_blobs", "_manifests"] as const) {
        for (const digest of await repositories.digests(repository, kind)) unneeded.delete(digest);
      }
    });
    await inGroups([...unneeded], (digest) => candidates.mark("", digest));
  }

  async #reportLosses(repository: string): Promise<void> {
    const { reader, content, logger } = this.#deps;
    const { manifests } = await reader.read(repository);
    for (const [manifest, { blobs, manifests: children }] of manifests) {
      const lost: string[] = [];
      await inGroups([manifest, ...children, ...blobs], async (digest) => {
        if ((await content.size(digest)) === undefined) lost.push(digest);
      });
      if (lost.length > 0) logger.error({ repository, manifest, lost: lost.slice(0, 10) }, "content is lost");
    }
  }
}
