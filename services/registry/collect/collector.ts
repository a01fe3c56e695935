import type { Leases } from "#libs/locks";
import type { Logger } from "#libs/logger";
import type { CollectionQueue, QueuedRepository } from "./queue.ts";
import { type ContentSweepDeps, type Reclaimed, sweepContent } from "./sweep-content.ts";
import { type RepositorySweep, type SweepDeps, sweepRepository } from "./sweep-repository.ts";
import type { Verification } from "./verification.ts";

/** Who wants to know what collection did. */
export interface CollectionObserver {
  removed(repository: string, sweep: RepositorySweep): Promise<void>;
  reclaimed(content: readonly Reclaimed[]): Promise<void>;
}

export interface CollectorDeps extends SweepDeps, ContentSweepDeps {
  readonly queue: CollectionQueue;
  readonly verification: Verification;
  readonly leases: Leases;
  readonly observer: CollectionObserver;
  readonly logger: Logger;
}

const LEASE = "registry:collection";
const LEASE_TTL_MS = 30_000;

/** Collects while the registry serves. Any number of them may run: the lease only keeps them from the same work. */
export class Collector {
  readonly #deps: CollectorDeps;

  constructor(deps: CollectorDeps) {
    this.#deps = deps;
  }

  /** Does what the queue asks for, and a verification when it is time for one; nothing while another replica does. */
  async pass(): Promise<void> {
    const { leases, intents, queue, verification, logger } = this.#deps;
    const lease = await leases.acquire(LEASE, LEASE_TTL_MS).catch((err: unknown) => {
      logger.warn({ err }, "collection goes on without its lease");
      return "unknown" as const;
    });
    if (lease === undefined) return;
    try {
      await intents.bury();
      if (await verification.isDue()) await this.verify();
      for (const queued of await queue.due()) await this.#sweep(queued);
      await this.content();
    } finally {
      if (lease !== "unknown") await lease.release();
    }
  }

  /** Looks at everything, whatever the queue says. */
  async verify(): Promise<void> {
    const { verification } = this.#deps;
    for await (const repository of verification.repositories()) await this.repository(repository);
    await verification.finish();
  }

  /** Looks at a repository. */
  async repository(repository: string): Promise<RepositorySweep> {
    const sweep = await sweepRepository(this.#deps, repository);
    if (sweep.nextMs !== undefined) await this.#deps.queue.add(repository, sweep.nextMs);
    await this.#deps.observer.removed(repository, sweep);
    return sweep;
  }

  /** Deletes the content that nobody has any more. */
  async content(): Promise<Reclaimed[]> {
    const reclaimed = await sweepContent(this.#deps);
    await this.#deps.observer.reclaimed(reclaimed);
    return reclaimed;
  }

  /** One that fails is looked at again, and is no reason not to look at the others. */
  async #sweep(queued: QueuedRepository): Promise<void> {
    const { repository } = queued;
    try {
      const sweep = await sweepRepository(this.#deps, repository);
      await this.#deps.queue.served(queued, sweep.nextMs);
      await this.#deps.observer.removed(repository, sweep);
    } catch (err) {
      this.#deps.logger.error({ err, repository }, "a repository could not be collected");
    }
  }
}
