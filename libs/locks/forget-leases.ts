import type { Redis } from "ioredis";

/**
 * Takes away every lease on a target of operations: after a disaster nobody is left who would give them back. They only
 * keep workers from racing; gives how many there were.
 */
export async function forgetLeases(redis: Redis): Promise<number> {
  let gone = 0;
  for await (const keys of redis.scanStream({ match: "{target:*}:lease", count: 500 })) {
    const found = keys as string[];
    if (found.length > 0) gone += await redis.unlink(...found);
  }
  return gone;
}
