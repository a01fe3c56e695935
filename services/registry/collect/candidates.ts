import type { Clock } from "#libs/clock";
import { digestOfCandidate, keys } from "../store/keys.ts";
import type { ObjectStore } from "../store/object-store.ts";

/** Marks on what nothing refers to: one object each, which says since when. The scope is a repository, or "" for content. */
export class Candidates {
  readonly #objects: ObjectStore;
  readonly #clock: Clock;

  constructor(objects: ObjectStore, clock: Clock) {
    this.#objects = objects;
    this.#clock = clock;
  }

  async all(scope: string): Promise<Set<string>> {
    return new Set((await this.#objects.list(keys.candidates(scope))).map(digestOfCandidate));
  }

  /** In ms; undefined without a mark. */
  async since(scope: string, digest: string): Promise<number | undefined> {
    const found = await this.#objects.read(keys.candidate(scope, digest));
    return found && Number(found.bytes.toString());
  }

  async mark(scope: string, digest: string): Promise<void> {
    await this.#objects.put(keys.candidate(scope, digest), `${this.#clock.now().getTime()}`);
  }

  async clear(scope: string, digests: readonly string[]): Promise<void> {
    await this.#objects.delete(digests.map((digest) => keys.candidate(scope, digest)));
  }
}
