import { createHash } from "node:crypto";
import type { Redis } from "ioredis";
import type { Logger } from "#libs/logger";
import type { FailedLogins } from "./logins.ts";

const WINDOW_SECONDS = 60;
const MAX_FAILURES = 10;

/** Counts failed logins of all replicas. While Redis is away nobody is kept out: hashing is slow enough by itself. */
export function redisFailedLogins({ redis, logger }: { redis: Redis; logger: Logger }): FailedLogins {
  const withoutRedis = (error: unknown) => logger.warn({ err: error }, "failed logins are not counted");
  return {
    retryAfterSeconds: WINDOW_SECONDS,
    async areTooMany(name) {
      const count = await redis.get(keyOf(name)).catch(withoutRedis);
      return Number(count ?? 0) >= MAX_FAILURES;
    },
    async add(name) {
      const key = keyOf(name);
      await redis.multi().set(key, 0, "EX", WINDOW_SECONDS, "NX").incr(key).exec().catch(withoutRedis);
    },
  };
}

function keyOf(name: string): string {
  return `registry:failed-logins:${createHash("sha256").update(name).digest("hex")}`;
}
