/** What is stored is stored on servers in containers too, as an installation by docker-compose has them. */
import { jetstreamManager, StorageType } from "@nats-io/jetstream";
import { nanos } from "@nats-io/transport-node";
import { afterAll, beforeAll } from "vitest";
import { systemClock, systemRandom } from "#libs/clock";
import { Lifecycle } from "#libs/lifecycle";
import { connectRedis, RedisLeases } from "#libs/locks";
import { openJetStreamLog, openNats } from "#libs/records";
import { dockerEngine } from "#libs/testing";
import { leasesContract } from "../../libs/locks/leases.contract.ts";
import { logContract } from "../../libs/records/log.contract.ts";
import { type ServerInContainer, startServerContainer } from "./server-container.ts";

const running = new AsyncDisposableStack();
let nats: Awaited<ReturnType<typeof openNats>>;
let redis: Awaited<ReturnType<typeof connectRedis>>;

beforeAll(async () => {
  const engine = running.use(await dockerEngine());
  const start = async (server: ServerInContainer) => {
    const container = running.use(await startServerContainer(engine, server));
    return `${container.getHost()}:${container.getMappedPort(server.port)}`;
  };
  const natsArgs = ["--jetstream", "--store_dir", "/data"];
  const redisArgs = ["--dir", "/data", "--protected-mode", "no"];
  const [natsAddress, redisAddress] = await Promise.all([
    start({ program: "nats-server", args: natsArgs, port: 4222, ready: "Server is ready" }),
    start({ program: "redis-server", args: redisArgs, port: 6379, ready: "Ready to accept connections" }),
  ]);
  nats = await openNats({ url: `nats://${natsAddress}` });
  running.defer(() => nats.close());
  const lifecycle = new Lifecycle();
  redis = await connectRedis({ REDIS_URL: `redis://${redisAddress}` }, lifecycle);
  running.defer(() => lifecycle.close());
});

afterAll(() => running.disposeAsync());

let logs = 0;
logContract("JetStreamLog in a container", async () => {
  const manager = await jetstreamManager(nats);
  // One that is made again under its name may find the messages that it had (nats-server 2.10.27).
  if (logs > 0) await manager.streams.delete(`TEST-${logs}`);
  return await openJetStreamLog(nats, {
    ...{ name: `TEST-${++logs}`, subjects: ["rec.>", "obs.>"], storage: StorageType.File, max_msgs_per_subject: 64 },
    duplicate_window: nanos(120_000),
  });
});

leasesContract("RedisLeases in a container", async () => {
  await redis.flushall();
  const leases = new RedisLeases(redis, { clock: systemClock, random: systemRandom });
  return { leases, forget: async () => void (await redis.flushall()) };
});
