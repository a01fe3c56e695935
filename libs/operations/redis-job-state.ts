import type { Redis } from "ioredis";
import { StillpointError } from "#libs/errors";
import type { JobState, LiveState } from "./job-state.ts";

const keyOf = (operationId: string) => `{op:${operationId}}:state`;
const NUMBERS = new Set(["heartbeat", "percent", "bytesDone", "bytesTotal"]);
/** Long enough for a look at what an operation did last; the operation itself is in the log. */
const EXPIRE_S = 600;

/** Job state as one hash for each operation. */
export class RedisJobState implements JobState {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async write(states: readonly LiveState[]): Promise<void> {
    const pipeline = this.#redis.pipeline();
    for (const state of states) {
      const fields = Object.entries(state).filter(([, value]) => value !== undefined);
      const key = keyOf(state.operationId);
      pipeline.del(key).hset(key, Object.fromEntries(fields)).expire(key, EXPIRE_S);
    }
    await this.#run(pipeline);
  }

  async read(operationIds: readonly string[]): Promise<(LiveState | undefined)[]> {
    if (operationIds.length === 0) return [];
    const pipeline = this.#redis.pipeline();
    for (const id of operationIds) pipeline.hgetall(keyOf(id));
    const answers = await this.#run(pipeline);
    return answers.map((answer) => decode(answer as Record<string, string>));
  }

  async #run(pipeline: ReturnType<Redis["pipeline"]>): Promise<unknown[]> {
    try {
      const answers = (await pipeline.exec()) ?? [];
      return answers.map(([error, answer]) => {
        if (error !== null) throw error;
        return answer;
      });
    } catch (cause) {
      throw new StillpointError("UNAVAILABLE", "Redis keeps no job state at the moment", { cause });
    }
  }
}

function decode(fields: Record<string, string>): LiveState | undefined {
  if (fields.operationId === undefined) return undefined;
  const values = Object.entries(fields).map(([key, value]) => [key, NUMBERS.has(key) ? Number(value) : value]);
  return Object.fromEntries(values) as LiveState;
}
