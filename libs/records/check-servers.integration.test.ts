import { once } from "node:events";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { expect, test } from "vitest";
import { Lifecycle } from "#libs/lifecycle";
import { freePort, type NatsCluster, startNats, startNatsCluster, type TestServer } from "#libs/testing";
import { checkServers, checkVersion } from "./check-servers.ts";
import { connectNats, openNats } from "./nats-connection.ts";
import { openStreams, streamSpecs } from "./streams.ts";

test("a server that syncs each write is taken, any other is refused with what to change", async () => {
  const [good, lazy, none] = [await freePort(), await freePort(), await freePort()];
  await using _good = await startNats({ syncAlways: true, monitorPort: good });
  await checkServers(`http://127.0.0.1:${good}`);
  await using _lazy = await startNats({ monitorPort: lazy });
  await expect(checkServers(`http://127.0.0.1:${lazy}`)).rejects.toThrow("sync_interval: always");
  // One of several is enough to lose writes; one that is away is no reason to wait.
  await expect(checkServers(`http://127.0.0.1:${good},http://127.0.0.1:${lazy}`)).rejects.toThrow(`127.0.0.1:${lazy}`);
  await checkServers(`http://127.0.0.1:${good},http://127.0.0.1:${none}`);
});

test("servers that do not tell are refused", async () => {
  await expect(checkServers(`http://127.0.0.1:${await freePort()}`)).rejects.toThrow("NATS_MONITOR_URL");
});

test("versions: any alone, in a cluster only those that keep what they acknowledged", () => {
  expect(() => checkVersion("2.9.10", false)).not.toThrow();
  for (const good of ["2.10.27", "2.10.28-beta", "2.11.0", "3.0.0"])
    expect(() => checkVersion(good, true)).not.toThrow();
  for (const bad of ["2.9.10", "2.10.26", "1.99.99", ""]) expect(() => checkVersion(bad, true)).toThrow("2.10.27");
});

test("a boot against an old node of a cluster is refused; alone it goes on", async () => {
  await using old = await oldServer({ cluster: "c1" });
  const lifecycle = new Lifecycle();
  await using _close = { [Symbol.asyncDispose]: () => lifecycle.close() };
  const nats = await connectNats({ NATS_URL: old.url }, lifecycle);
  await expect(openStreams(nats)).rejects.toThrow("nats-server 2.9.10 loses writes in a cluster: use 2.10.27");
});

test("three nodes keep each message, also of a stream that one kept alone, and two of them suffice", async () => {
  await using cluster = await startNatsCluster();
  await checkServers(cluster.monitorUrl);
  const nats = await openNats({ url: cluster.url });
  await using _close = { [Symbol.asyncDispose]: () => nats.close() };
  const manager = await jetstreamManager(nats);
  await manager.streams.add({ ...streamSpecs.REC.config, num_replicas: 1 });
  const { rec } = await openStreams(nats);
  for await (const { config } of manager.streams.list())
    expect([config.name, config.num_replicas]).toEqual([config.name, 3]);
  const sequence = await rec.append("rec.hosts.n1", Buffer.from("{}"), { expectedSequence: 0 });
  const leader = await cluster.leaderOf("REC");
  await expectsMost(cluster, leader);
  await leader?.stop("SIGKILL");
  // Who starts meanwhile is served too.
  const late = await openNats({ url: cluster.url });
  await using _late = { [Symbol.asyncDispose]: () => late.close() };
  await openStreams(late);
  await checkServers(cluster.monitorUrl);
  expect((await rec.read("rec.hosts.n1"))?.sequence).toBe(sequence);
  await leader?.start();
  await cluster.untilWhole();
});

/** A leader that is alone says at once that there is nothing; asked for the newest it waits for the others. */
async function expectsMost(cluster: NatsCluster, leader: TestServer | undefined) {
  const nats = await openNats({ url: leader?.url ?? "" });
  await using _close = { [Symbol.asyncDispose]: () => nats.close() };
  const { rec } = await openStreams(nats);
  const others = cluster.nodes.filter((node) => node !== leader);
  for (const node of others) node.signal("SIGSTOP");
  expect(await rec.read("rec.hosts.none")).toBeUndefined();
  const newest = rec.newest("rec.hosts.none");
  expect(await Promise.race([newest, sleep(aloneMs, "no answer")])).toBe("no answer");
  for (const node of others) node.signal("SIGCONT");
  expect(await newest).toEqual([]);
  await cluster.untilWhole();
}

/** Less than it takes to elect another. */
const aloneMs = 1_500;

/** Greets as nats-server 2.9.10 does: Debian 12's cannot be installed beside the one that everything else runs on. */
async function oldServer(info: object): Promise<AsyncDisposable & { url: string }> {
  const greeting = {
    server_id: "OLD",
    version: "2.9.10",
    proto: 1,
    headers: true,
    max_payload: 1_048_576,
    jetstream: true,
  };
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.write(`INFO ${JSON.stringify({ ...greeting, ...info })}\r\n`);
    socket.on("data", (data) => {
      if (data.toString().includes("PING")) socket.write("PONG\r\n");
    });
  });
  const port = await freePort();
  await once(server.listen(port, "127.0.0.1"), "listening");
  return { url: `nats://127.0.0.1:${port}`, [Symbol.asyncDispose]: async () => void server.close() };
}
