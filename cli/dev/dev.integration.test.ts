import { once } from "node:events";
import { stat } from "node:fs/promises";
import { createServer } from "node:net";
import { connect } from "@nats-io/transport-node";
import { Redis } from "ioredis";
import { expect, test } from "vitest";
import { Lifecycle } from "#libs/lifecycle";
import { natsHealth, openNats } from "#libs/records";
import { eventually, leftovers, temporaryFolder } from "#libs/testing";
import { claimPort } from "./claim-port.ts";
import { claimDataFolder } from "./data-folder.ts";
import { startServers } from "./servers.ts";

/** A lifecycle that ends with the test. */
function openLifecycle() {
  const lifecycle = new Lifecycle();
  return { lifecycle, [Symbol.asyncDispose]: () => lifecycle.close() };
}

test("a data folder has one owner at a time, and is free again after it", async () => {
  await using folder = temporaryFolder();
  const path = `${folder.path}/data`;
  {
    await using first = openLifecycle();
    await using second = openLifecycle();
    expect(await claimDataFolder(path, first.lifecycle)).toBe(path);
    expect((await stat(path)).mode & 0o777).toBe(0o700);
    await expect(claimDataFolder(path, second.lifecycle)).rejects.toThrow(
      `${path} is in use by process ${process.pid}`,
    );
  }
  await using third = openLifecycle();
  expect(await claimDataFolder(path, third.lifecycle)).toBe(path);
});

test("a port that is taken is refused with what to do", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" ? (address?.port ?? 0) : 0;
  await expect(claimPort(port, "--port")).rejects.toThrowError(
    expect.objectContaining({ reason: "ARGUMENT_INVALID", help: expect.stringContaining("--port") }),
  );
  server.close();
  expect(await claimPort(0, "--port")).toBeGreaterThan(0);
});

test("NATS and Redis keep their data over a restart, come back when they die, and end with their owner", async () => {
  await using folder = temporaryFolder();
  {
    await using first = openLifecycle();
    const urls = await startServers(folder.path, first.lifecycle);
    const redis = new Redis(urls.REDIS_URL);
    await redis.set("key", "value");
    const nats = await openNats({ url: urls.NATS_URL });
    await expect(connect({ servers: `${new URL(urls.NATS_URL).host}`, reconnect: false })).rejects.toThrow(
      /authorization/i,
    );
    const healthy = natsHealth(nats);
    expect({ jetstream: nats.info?.jetstream, healthy: healthy() }).toEqual({ jetstream: true, healthy: true });
    const server = leftovers().find((line) => line.includes("nats-server"));
    process.kill(Number(server?.split(/[ :]/)[1]), "SIGKILL");
    await eventually(() => !healthy(), { deadlineMs: 10_000 });
    await eventually(healthy, { deadlineMs: 10_000 });
    await nats.rtt();
    await nats.close();
    redis.disconnect();
  }
  expect(leftovers().filter((line) => line.startsWith("process"))).toEqual([]);
  await using second = openLifecycle();
  const urls = await startServers(folder.path, second.lifecycle);
  const redis = new Redis(urls.REDIS_URL);
  expect(await redis.get("key")).toBe("value");
  redis.disconnect();
});
