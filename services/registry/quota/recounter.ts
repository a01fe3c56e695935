import type { Clock } from "#libs/clock";
import type { Leases } from "#libs/locks";
import { OciError } from "../domain/oci-error.ts";
import type { LinkKind } from "../store/keys.ts";
import type { RepositoryStore } from "../store/repository-store.ts";
import { projectOf } from "./quota-store.ts";
import type { Count, Holding, Usage } from "./usage.ts";

export interface RecounterDeps {
  readonly repositories: Pick<RepositoryStore, "known" | "digests" | "link">;
  readonly usage: Usage;
  readonly leases: Leases;
  readonly clock: Clock;
}

const LEASE_MS = 15_000;
const LOOK_AGAIN_MS = 100;
const PATIENCE_MS = 60_000;
const AT_ONCE = 32;
const MAX_ROUNDS = 100;
const kinds: readonly LinkKind[] = ["_blobs", "_manifests"];

/** Counts what projects hold from the store, which is the truth, while they are pushed to. */
export class Recounter {
  readonly #deps: RecounterDeps;

  constructor(deps: RecounterDeps) {
    this.#deps = deps;
  }

  /** Counts a project that nobody has counted; waits while another replica does so. @throws OciError UNAVAILABLE */
  async ensure(project: string): Promise<void> {
    const { usage, clock } = this.#deps;
    const until = clock.monotonicMs() + PATIENCE_MS;
    while ((await usage.total(project)) === undefined) {
      if (await this.#tryCount(project)) return;
      if (clock.monotonicMs() > until) throw busy(project);
      await clock.sleep(LOOK_AGAIN_MS);
    }
  }

  /** Counts a project anew; leaves it when another replica is at it. */
  async recount(project: string): Promise<void> {
    await this.#tryCount(project);
  }

  /** Bytes that a project holds, each content once, without the index. */
  async measure(project: string): Promise<number> {
    const sizes = new Map<string, number>();
    await this.#each(project, async ({ content }, sizeBytes) => {
      sizes.set(content, sizeBytes);
    });
    return [...sizes.values()].reduce((sum, size) => sum + size, 0);
  }

  async #tryCount(project: string): Promise<boolean> {
    const lease = await this.#deps.leases.acquire(`registry-usage/${project}`, LEASE_MS);
    if (lease === undefined) return false;
    try {
      const count = await this.#deps.usage.startCount(project);
      await this.#each(project, (holding, sizeBytes) => count.add(holding, sizeBytes));
      for (let round = 0; round < MAX_ROUNDS; round += 1) {
        lease.signal.throwIfAborted();
        await this.#lookAgain(count);
        if (await count.commit()) return true;
      }
      throw busy(project);
    } finally {
      await lease.release();
    }
  }

  /** Whatever came or went meanwhile: what the store says now is right, or will be told once more. */
  async #lookAgain(count: Count): Promise<void> {
    for (const holding of await count.takeChanged()) {
      const { kind, digest } = partsOf(holding.content);
      const link = await this.#deps.repositories.link(holding.repository, kind, digest);
      if (link === undefined) await count.remove(holding);
      else await count.add(holding, link.sizeBytes);
    }
  }

  async #each(project: string, take: (holding: Holding, sizeBytes: number) => Promise<void>): Promise<void> {
    const { repositories } = this.#deps;
    const own = (await repositories.known()).filter((repository) => projectOf(repository) === project);
    for (const repository of own) {
      for (const kind of kinds) {
        const digests = await repositories.digests(repository, kind);
        for (let start = 0; start < digests.length; start += AT_ONCE) {
          const some = digests.slice(start, start + AT_ONCE);
          await Promise.all(
            some.map(async (digest) => {
              const link = await repositories.link(repository, kind, digest);
              if (link !== undefined) await take({ content: contentOf(kind, digest), repository }, link.sizeBytes);
            }),
          );
        }
      }
    }
  }
}

/** The name of content in the index: a blob and a manifest may have the same digest. */
export function contentOf(kind: LinkKind, digest: string): string {
  return `${kind}:${digest}`;
}

function partsOf(content: string): { kind: LinkKind; digest: string } {
  const kind = content.startsWith("_blobs:") ? "_blobs" : "_manifests";
  return { kind, digest: content.slice(kind.length + 1) };
}

function busy(project: string): OciError {
  return new OciError("UNAVAILABLE", `what ${project} holds is being counted: try again`);
}
