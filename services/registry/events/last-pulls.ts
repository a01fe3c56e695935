import type { Redis } from "ioredis";
import type { PullSink } from "./pulls.ts";

const KEPT_SECONDS = 365 * 86_400;
const keyOf = (repository: string): string => `registry:pulled:${repository}`;

/** Remembers in Redis when each manifest was pulled last; a Redis that lost its data has forgotten it. */
export class LastPulls {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  readonly remember: PullSink = async (pulls) => {
    const pipeline = this.#redis.pipeline();
    for (const { repository, digest, lastTime } of pulls) {
      pipeline.hset(keyOf(repository), digest, lastTime.getTime());
      pipeline.expire(keyOf(repository), KEPT_SECONDS);
    }
    await pipeline.exec();
  };

  /** In the order of what is asked for; undefined where nothing is known. */
  async of(images: readonly { repository: string; digest: string }[]): Promise<(Date | undefined)[]> {
    if (images.length === 0) return [];
    const pipeline = this.#redis.pipeline();
    for (const { repository, digest } of images) pipeline.hget(keyOf(repository), digest);
    const answers = (await pipeline.exec().catch(() => null)) ?? [];
    return images.map((_image, place) => {
      const [, time] = answers[place] ?? [];
      return typeof time === "string" ? new Date(Number(time)) : undefined;
    });
  }
}
