import type { Redis } from "ioredis";

/**
 * Which repositories were seen to have a blob. A hint for mounts that name no source: whoever follows it asks the
 * repository itself, and what Redis has lost is uploaded again.
 */
export interface BlobHolders {
  /** Remembers it anew; never fails, and nobody waits for it. */
  add(digest: string, repository: string): void;
  /** The same when it was asked and has the blob no more. */
  forget(digest: string, repository: string): void;
  /** Repositories that may have the blob. */
  of(digest: string): Promise<readonly string[]>;
}

const KEPT_SECONDS = 30 * 86_400;

export function redisBlobHolders(redis: Redis): BlobHolders {
  return {
    add(digest, repository) {
      const key = keyOf(digest);
      redis
        .multi()
        .sadd(key, repository)
        .expire(key, KEPT_SECONDS)
        .exec()
        .catch(() => {});
    },
    forget(digest, repository) {
      redis.srem(keyOf(digest), repository).catch(() => {});
    },
    async of(digest) {
      return await redis.smembers(keyOf(digest)).catch(() => []);
    },
  };
}

const keyOf = (digest: string): string => `registry:holders:${digest}`;
