import type { RepositoryStore } from "../store/repository-store.ts";
import type { Candidates } from "./candidates.ts";
import type { CollectionQueue } from "./queue.ts";
import type { RepositoryReader } from "./repository-reader.ts";

export interface RemovalsDeps {
  readonly repositories: RepositoryStore;
  readonly reader: RepositoryReader;
  readonly candidates: Candidates;
  readonly queue: CollectionQueue;
}

/** What people remove: gone at once, and what it needed is left to collection. All answer false when it was not there. */
export class Removals {
  readonly #deps: RemovalsDeps;

  constructor(deps: RemovalsDeps) {
    this.#deps = deps;
  }

  async tag(repository: string, tag: string): Promise<boolean> {
    const wasThere = await this.#deps.repositories.removeTag(repository, tag);
    if (wasThere) await this.#deps.queue.add(repository);
    return wasThere;
  }

  /** With all its tags. */
  async manifest(repository: string, digest: string): Promise<boolean> {
    const { repositories, reader } = this.#deps;
    const parts = await reader.parts(repository, digest);
    const wasThere = await repositories.removeManifest(repository, digest, parts?.subject);
    if (wasThere) await this.#collect(repository, digest);
    return wasThere;
  }

  async blob(repository: string, digest: string): Promise<boolean> {
    const wasThere = await this.#deps.repositories.removeBlob(repository, digest);
    if (wasThere) await this.#collect(repository, digest);
    return wasThere;
  }

  async #collect(repository: string, digest: string): Promise<void> {
    await this.#deps.candidates.mark("", digest);
    await this.#deps.queue.add(repository);
  }
}
