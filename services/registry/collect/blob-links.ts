import { LRUCache } from "lru-cache";
import type { Clock } from "#libs/clock";
import type { ContentStore } from "../store/content-store.ts";
import type { RepositoryStore } from "../store/repository-store.ts";
import type { Guard } from "./guard.ts";
import type { CollectionQueue } from "./queue.ts";

export interface BlobLinksDeps {
  readonly repositories: RepositoryStore;
  readonly content: ContentStore;
  readonly guard: Guard;
  readonly queue: CollectionQueue;
  readonly clock: Clock;
  readonly graceMs: number;
}

/** Gives repositories blobs whose content is there, while content may be deleted. */
export class BlobLinks {
  readonly #deps: BlobLinksDeps;
  /** Repositories that collection will look at anyway after the grace period. */
  readonly #queued: LRUCache<string, true>;

  constructor(deps: BlobLinksDeps) {
    this.#deps = deps;
    this.#queued = new LRUCache({ max: 10_000, ttl: Math.max(1, deps.graceMs) });
  }

  /** Waits until nobody is about to delete the content; what is there then may be linked. */
  async whenFree(repository: string, digest: string): Promise<void> {
    await this.#deps.guard.whenFree(repository, [digest]);
  }

  /**
   * Links content, and looks then whether it was being deleted at that very moment. False when it is gone: nothing is
   * linked, and the content has to come again.
   */
  async add(repository: string, digest: string, sizeBytes: number): Promise<boolean> {
    const { repositories, content, guard } = this.#deps;
    await this.#lookLater(repository);
    for (let round = 0; round < 2; round++) {
      await repositories.addBlob(repository, digest, sizeBytes);
      await guard.referred(repository, [digest]);
      if ((await guard.whenFree(repository, [digest])).length > 0) break;
      const link = await repositories.link(repository, "_blobs", digest);
      const isThere = (await content.size(digest)) === sizeBytes;
      if (link !== undefined && isThere) return true;
      if (!isThere) break;
    }
    await repositories.removeBlobs(repository, [digest]);
    return false;
  }

  /** A push that is given up leaves blobs that nothing refers to. */
  async #lookLater(repository: string): Promise<void> {
    if (this.#queued.has(repository)) return;
    const { queue, clock, graceMs } = this.#deps;
    await queue.add(repository, clock.now().getTime() + graceMs);
    this.#queued.set(repository, true);
  }
}
