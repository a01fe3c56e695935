import type { Logger } from "#libs/logger";
import type { CollectionObserver } from "./collector.ts";

/** Tells the log what was collected. */
export function logCollection(logger: Logger): CollectionObserver {
  return {
    async removed(repository, { removed }) {
      if (removed.length > 0) logger.info({ repository, removed: removed.length }, "collected from a repository");
    },
    async reclaimed(content) {
      if (content.length === 0) return;
      const bytes = content.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      logger.info({ blobs: content.length, bytes }, "reclaimed content");
    },
  };
}
