import type { Redis } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Lifecycle } from "#libs/lifecycle";
import { connectRedis } from "#libs/locks";
import { startRedis, type TestServer } from "#libs/testing";
import { jobStateContract } from "./job-state.contract.ts";
import { RedisJobState } from "./redis-job-state.ts";

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

jobStateContract("RedisJobState", async () => {
  await redis.flushall();
  return { jobState: new RedisJobState(redis), forget: async () => void (await redis.flushall()) };
});

test("says that it cannot be kept while Redis is away", async () => {
  const jobState = new RedisJobState(redis);
  await server.stop("SIGKILL");
  await expect(jobState.read(["op-1"])).rejects.toMatchObject({ reason: "UNAVAILABLE" });
  const state = { operationId: "op-1", worker: "w", heartbeat: 1, step: "copy" };
  await expect(jobState.write([state])).rejects.toMatchObject({ reason: "UNAVAILABLE" });
  await server.start();
});
