import { randomUUID } from "node:crypto";
import type { Redis } from "ioredis";
import { OciError } from "../domain/oci-error.ts";
import type { Count, Holding, Reserved, Usage } from "./usage.ts";

/**
 * One hash a project: `total`; `s <content>` its bytes; `n <content>` how many repositories have it;
 * `l <content> <repository>` that one of them has it. While a count is under way, the set `changed` takes down what
 * comes and goes; `-` in it says that it is one.
 */
const APPLY = `
local function apply(hash, content, repository, size)
  local link, count = "l " .. content .. " " .. repository, "n " .. content
  if size then
    if redis.call("HSETNX", hash, link, 1) == 0 then return end
    if redis.call("HINCRBY", hash, count, 1) > 1 then return end
    redis.call("HSET", hash, "s " .. content, size)
    redis.call("HINCRBY", hash, "total", size)
  elseif redis.call("HDEL", hash, link) == 1 and redis.call("HINCRBY", hash, count, -1) == 0 then
    redis.call("HINCRBY", hash, "total", -tonumber(redis.call("HGET", hash, "s " .. content)))
    redis.call("HDEL", hash, count, "s " .. content)
  end
end
local function note(changed, content, repository)
  if redis.call("EXISTS", changed) == 1 then redis.call("SADD", changed, content .. " " .. repository) end
end
`;

/** KEYS hash, changed; ARGV content, repository, bytes, limit. */
const RESERVE = `${APPLY}
local total = redis.call("HGET", KEYS[1], "total")
if not total then return "uncounted" end
local isNew = redis.call("HEXISTS", KEYS[1], "n " .. ARGV[1]) == 0
if isNew and tonumber(total) + tonumber(ARGV[3]) > tonumber(ARGV[4]) then return "over" end
apply(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
note(KEYS[2], ARGV[1], ARGV[2])
return "held"`;

/** KEYS hash, changed; ARGV content, repository, bytes or "" for one that is gone. What was not counted stays so. */
const CHANGE = `${APPLY}
note(KEYS[2], ARGV[1], ARGV[2])
if redis.call("HEXISTS", KEYS[1], "total") == 0 then return end
apply(KEYS[1], ARGV[1], ARGV[2], ARGV[3] ~= "" and ARGV[3])`;

/** KEYS the count's hash; ARGV as CHANGE. */
const COUNT = `${APPLY}
apply(KEYS[1], ARGV[1], ARGV[2], ARGV[3] ~= "" and ARGV[3])
redis.call("PEXPIRE", KEYS[1], 3600000)`;

/** KEYS changed. */
const TAKE = `
local found = redis.call("SMEMBERS", KEYS[1])
redis.call("DEL", KEYS[1])
redis.call("SADD", KEYS[1], "-")
redis.call("PEXPIRE", KEYS[1], 3600000)
return found`;

/** KEYS hash, changed, the count's hash. */
const COMMIT = `
if redis.call("SCARD", KEYS[2]) ~= 1 then return 0 end
redis.call("DEL", KEYS[1], KEYS[2])
redis.call("HINCRBY", KEYS[3], "total", 0)
redis.call("RENAME", KEYS[3], KEYS[1])
redis.call("PERSIST", KEYS[1])
return 1`;

const hashOf = (project: string) => `registry:usage:{${project}}`;
const changedOf = (project: string) => `registry:usage:{${project}}:changed`;

export function redisUsage(redis: Redis): Usage {
  const change = async (project: string, { content, repository }: Holding, size: number | "") => {
    await answered(redis.eval(CHANGE, 2, hashOf(project), changedOf(project), content, repository, size));
  };
  return {
    async total(project) {
      const total = await answered(redis.hget(hashOf(project), "total"));
      return total === null ? undefined : Number(total);
    },
    async holds(project, content) {
      return (await answered(redis.hexists(hashOf(project), `n ${content}`))) === 1;
    },
    async reserve(project, { content, repository }, { sizeBytes, limitBytes }) {
      const keys = [hashOf(project), changedOf(project)] as const;
      return (await answered(redis.eval(RESERVE, 2, ...keys, content, repository, sizeBytes, limitBytes))) as Reserved;
    },
    add: (project, holding, sizeBytes) => change(project, holding, sizeBytes),
    async remove(project, holdings) {
      for (const holding of holdings) await change(project, holding, "");
    },
    async startCount(project) {
      const count = new RedisCount(redis, project);
      await count.takeChanged();
      return count;
    },
  };
}

class RedisCount implements Count {
  readonly #redis: Redis;
  readonly #project: string;
  readonly #key: string;

  constructor(redis: Redis, project: string) {
    this.#redis = redis;
    this.#project = project;
    this.#key = `${hashOf(project)}:${randomUUID()}`;
  }

  async add({ content, repository }: Holding, sizeBytes: number): Promise<void> {
    await answered(this.#redis.eval(COUNT, 1, this.#key, content, repository, sizeBytes));
  }

  async remove({ content, repository }: Holding): Promise<void> {
    await answered(this.#redis.eval(COUNT, 1, this.#key, content, repository, ""));
  }

  async takeChanged(): Promise<readonly Holding[]> {
    const found = await answered(this.#redis.eval(TAKE, 1, changedOf(this.#project)));
    return (found as string[]).filter((text) => text !== "-").map(readHolding);
  }

  async commit(): Promise<boolean> {
    const keys = [hashOf(this.#project), changedOf(this.#project), this.#key] as const;
    return (await answered(this.#redis.eval(COMMIT, 3, ...keys))) === 1;
  }
}

function readHolding(text: string): Holding {
  const [content = "", repository = ""] = text.split(" ");
  return { content, repository };
}

async function answered<Answer>(command: Promise<Answer>): Promise<Answer> {
  try {
    return await command;
  } catch (cause) {
    throw new OciError("UNAVAILABLE", "Redis does not answer: what a project holds is not known", { cause });
  }
}
