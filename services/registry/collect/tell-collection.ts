import type { Logger } from "#libs/logger";
import type { Changes } from "../events/changes.ts";
import type { CollectionMetrics } from "../metrics.ts";
import type { CollectionObserver } from "./collector.ts";

/** Tells log, events and metrics what was collected. */
export function tellCollection(deps: {
  readonly changes: Changes;
  readonly metrics: CollectionMetrics;
  readonly logger: Logger;
}): CollectionObserver {
  const { changes, metrics, logger } = deps;
  return {
    async removed(repository, { removed, waitingBytes }) {
      metrics.waiting(repository, waitingBytes);
      if (removed.length === 0) return;
      logger.info({ repository, removed: removed.length }, "collected from a repository");
      const digests = removed.map(({ digest }) => digest);
      await changes.tell({ action: "collected", repository, actor: "collection", tags: [], digests });
    },
    async reclaimed(content) {
      if (content.length === 0) return;
      const bytes = content.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      metrics.reclaimed(bytes);
      logger.info({ blobs: content.length, bytes }, "reclaimed content");
    },
  };
}
