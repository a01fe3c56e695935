import { LRUCache } from "lru-cache";
import type { Clock } from "#libs/clock";
import type { Candidates } from "./candidates.ts";
import type { Intents } from "./intents.ts";

export interface GuardDeps {
  readonly intents: Intents;
  readonly candidates: Candidates;
  readonly clock: Clock;
  /** How long something has to be a candidate before it may be deleted. */
  readonly graceMs: number;
}

const LONGEST_STALE_MS = 5_000;
const WAIT_MS = 10_000;
const PAUSE_MS = 50;

/** What requests ask of collection. */
export class Guard {
  readonly #deps: GuardDeps;
  readonly #candidates: LRUCache<string, Promise<Set<string>>>;

  constructor(deps: GuardDeps) {
    this.#deps = deps;
    // Nothing is deleted that was not a candidate for the whole grace period: to know it a little late is soon enough.
    const ttl = Math.max(1, Math.floor(Math.min(LONGEST_STALE_MS, deps.graceMs / 10)));
    this.#candidates = new LRUCache({ max: 1_000, ttl });
  }

  /** Somebody asks for something that is there: it is no candidate any more. False when it counts as absent. */
  async wanted(repository: string, digest: string): Promise<boolean> {
    if (!(await this.#recent(repository)).has(digest)) return true;
    const { intents, candidates } = this.#deps;
    if ((await intents.deleting(repository)).has(digest)) return false;
    await candidates.clear(repository, [digest]);
    return !(await intents.deleting(repository)).has(digest);
  }

  /** Takes the marks away of what somebody refers to now. */
  async referred(repository: string, digests: readonly string[]): Promise<void> {
    const marked = await this.#deps.candidates.all(repository);
    const cleared = digests.filter((digest) => marked.has(digest));
    if (cleared.length > 0) await this.#deps.candidates.clear(repository, cleared);
  }

  /**
   * Waits while somebody may be about to delete one of these, from the repository or altogether. Answers those that are
   * still not free after 10 seconds.
   */
  async whenFree(repository: string, digests: readonly string[]): Promise<readonly string[]> {
    const { intents, clock } = this.#deps;
    const start = clock.monotonicMs();
    for (;;) {
      const deleting = await intents.deleting(repository);
      const taken = deleting.size === 0 ? [] : digests.filter((digest) => deleting.has(digest));
      if (taken.length === 0 || clock.monotonicMs() - start > WAIT_MS) return taken;
      await clock.sleep(PAUSE_MS);
    }
  }

  async #recent(repository: string): Promise<Set<string>> {
    const cached = this.#candidates.get(repository);
    if (cached !== undefined) return await cached;
    const read = this.#deps.candidates.all(repository);
    this.#candidates.set(repository, read);
    read.catch(() => this.#candidates.delete(repository));
    return await read;
  }
}
