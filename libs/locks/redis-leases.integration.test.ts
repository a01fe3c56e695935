import type { Redis } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock, systemRandom } from "#libs/clock";
import { Lifecycle } from "#libs/lifecycle";
import { eventually, startRedis, type TestServer } from "#libs/testing";
import { connectRedis, RedisLeases } from "./index.ts";
import { leasesContract } from "./leases.contract.ts";

const deps = { clock: systemClock, random: systemRandom };
const lifecycle = new Lifecycle();
let server: TestServer;
let redis: Redis;

beforeAll(async () => {
  server = await startRedis();
  redis = await connectRedis({ REDIS_URL: server.url }, lifecycle);
});

afterAll(async () => {
  await lifecycle.close();
  await server[Symbol.asyncDispose]();
});

leasesContract("RedisLeases", async () => {
  await redis.flushall();
  return { leases: new RedisLeases(redis, deps), forget: async () => void (await redis.flushall()) };
});

test("a lease is given up by the holder's own clock when Redis is away; it comes back by itself", async () => {
  const leases = new RedisLeases(redis, deps);
  const lease = await leases.acquire("vm", 300);
  await server.stop("SIGKILL");
  await expect(leases.acquire("other", 300)).rejects.toMatchObject({ reason: "UNAVAILABLE" });
  await eventually(() => lease?.signal.aborted === true);
  await server.start();
  await eventually(async () => (await redis.ping().catch(() => "")) === "PONG");
});
