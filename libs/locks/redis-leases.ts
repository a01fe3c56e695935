import type { Redis } from "ioredis";
import type { Clock, Random } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { Lease, Leases } from "./leases.ts";
import { isReplicated } from "./redis-connection.ts";
import { type LeaseStore, RenewedLease } from "./renewed-lease.ts";

const keyOf = (key: string) => `{${key}}:lease`;

const REPLICATED_WITHIN_MS = 100;

/** KEYS[1] lease; ARGV[1] token, ARGV[2] ttl in ms. 1: it is ours, or was free (a Redis that lost its data) and is ours now. */
const RENEW = `
local holder = redis.call("GET", KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2])
return 1`;

/** KEYS[1] lease; ARGV[1] token. */
const RELEASE = `if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end return 0`;

/** Leases in Redis; with sentinels, one that only the primary has counts for nothing. */
export class RedisLeases implements Leases {
  readonly #redis: Redis;
  readonly #deps: { readonly clock: Clock; readonly random: Random };
  readonly #store: LeaseStore;

  constructor(redis: Redis, deps: { readonly clock: Clock; readonly random: Random }) {
    this.#redis = redis;
    this.#deps = deps;
    this.#store = {
      renew: async (key, token, ttlMs) => (await redis.eval(RENEW, 1, keyOf(key), token, Math.ceil(ttlMs))) === 1,
      release: async (key, token) => {
        await redis.eval(RELEASE, 1, keyOf(key), token);
      },
    };
  }

  async acquire(key: string, ttlMs: number): Promise<Lease | undefined> {
    const { clock, random } = this.#deps;
    const token = random.id("lease");
    try {
      const answer = await this.#redis.set(keyOf(key), token, "PX", Math.ceil(ttlMs), "NX");
      if (answer === null) return undefined;
      await this.#replicate(key, token);
      return new RenewedLease({ key, token, ttlMs, store: this.#store, clock });
    } catch (cause) {
      throw new StillpointError("UNAVAILABLE", `Redis gives no lease on ${key}`, { cause });
    }
  }

  /**
   * Waits until another server has it too, lest the one that takes over knows nothing of it. Fails, and gives the lease
   * back, when none does soon.
   */
  async #replicate(key: string, token: string): Promise<void> {
    if (!isReplicated(this.#redis)) return;
    if ((await this.#redis.wait(1, REPLICATED_WITHIN_MS)) >= 1) return;
    await this.#store.release(key, token);
    throw new Error("no replica has the lease: is every other Redis server away?");
  }
}
