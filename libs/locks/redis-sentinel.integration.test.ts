import { expect, test } from "vitest";
import { systemClock, systemRandom } from "#libs/clock";
import { Lifecycle } from "#libs/lifecycle";
import { eventually, startRedisCluster } from "#libs/testing";
import { connectRedis, RedisLeases } from "./index.ts";
import { parseSentinelUrl } from "./sentinel-connector.ts";

test("URLs of sentinels", () => {
  expect(parseSentinelUrl("redis://127.0.0.1:6379")).toBeUndefined();
  expect(parseSentinelUrl("redis+sentinel://h1,h2:1,[::1]:2/main")).toEqual({
    name: "main",
    sentinels: [
      { host: "h1", port: 26_379 },
      { host: "h2", port: 1 },
      { host: "[::1]", port: 2 },
    ],
  });
  expect(parseSentinelUrl("rediss+sentinel://vm:p%40ss@h1:1/main")).toMatchObject({ username: "vm", password: "p@ss" });
});

test("a lease is on two servers, is refused when it is on one, and goes on after a failover", async () => {
  await using cluster = await startRedisCluster();
  const lifecycle = new Lifecycle();
  await using _close = { [Symbol.asyncDispose]: () => lifecycle.close() };
  const redis = await connectRedis({ REDIS_URL: cluster.url }, lifecycle);
  const leases = new RedisLeases(redis, { clock: systemClock, random: systemRandom });
  // Longer than all of the waits below, by which it would rightly be given up. Replicas that have just begun may be slow.
  const held = await eventually(() => leases.acquire("vm", 120_000), { deadlineMs: 15_000, everyMs: 100 });
  expect(await leases.acquire("vm", 20_000)).toBeUndefined();

  const primary = await cluster.primary();
  const others = cluster.servers.filter((server) => server !== primary);
  for (const other of others) other.signal("SIGSTOP");
  await expect(leases.acquire("alone", 20_000)).rejects.toMatchObject({ reason: "UNAVAILABLE" });
  for (const other of others) other.signal("SIGCONT");
  const again = await eventually(() => leases.acquire("alone", 20_000), { deadlineMs: 15_000, everyMs: 100 });
  expect(again).toBeDefined();

  await (await cluster.primary()).stop("SIGKILL");
  await eventually(() => leases.acquire("next", 20_000), { deadlineMs: 20_000, everyMs: 100 });
  // The new primary knows of the lease that the old one gave.
  expect(await leases.acquire("vm", 20_000)).toBeUndefined();
  expect(held.signal.aborted).toBe(false);
});
