import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Lifecycle } from "#libs/lifecycle";
import { claimPort } from "./claim-port.ts";
import { EmbeddedServer } from "./embedded-server.ts";

export interface ServerUrls {
  readonly NATS_URL: string;
  /** By which services see that each write is synced. */
  readonly NATS_MONITOR_URL: string;
  readonly REDIS_URL: string;
}

const user = "stillpoint";

/** Starts NATS and Redis on free ports of the loopback, with their data in the folder and a new password each time; they end with the lifecycle. */
export async function startServers(folder: string, lifecycle: Lifecycle): Promise<ServerUrls> {
  const [nats, REDIS_URL] = await Promise.all([startNats(folder, lifecycle), startRedis(folder, lifecycle)]);
  return { ...nats, REDIS_URL };
}

async function startNats(data: string, lifecycle: Lifecycle): Promise<Omit<ServerUrls, "REDIS_URL">> {
  const folder = await ownFolder(data, "nats");
  const port = await claimPort(0, "--data");
  const monitorPort = await claimPort(0, "--data");
  const config = join(folder, "nats.conf");
  const password = randomBytes(24).toString("hex");
  // Every write is on the disk before it is acknowledged: the records are the truth.
  const text = [
    `listen: "127.0.0.1:${port}"`,
    `http: "127.0.0.1:${monitorPort}"`,
    "server_name: stillpoint-dev",
    `authorization { user: ${user}, password: ${JSON.stringify(password)} }`,
    // Of its own accord it would leave streams out when it starts on a disk that has become fuller.
    `jetstream { store_dir: ${JSON.stringify(join(folder, "jetstream"))}, sync_interval: always, max_file_store: 20GB }`,
  ].join("\n");
  await writeFile(config, `${text}\n`, { mode: 0o600 });
  const logFile = join(folder, "server.log");
  const server = await EmbeddedServer.start({ argv: ["nats-server", "--config", config], port, folder, logFile });
  lifecycle.add("nats-server", server, (it) => it.close());
  return {
    NATS_URL: `nats://${user}:${password}@127.0.0.1:${port}`,
    NATS_MONITOR_URL: `http://127.0.0.1:${monitorPort}`,
  };
}

async function startRedis(data: string, lifecycle: Lifecycle): Promise<string> {
  const folder = await ownFolder(data, "redis");
  const port = await claimPort(0, "--data");
  const config = join(folder, "redis.conf");
  const password = randomBytes(24).toString("hex");
  const lines = ["bind 127.0.0.1", `port ${port}`, `dir ${JSON.stringify(folder)}`, 'save ""', "appendonly yes"];
  await writeFile(config, `${[...lines, `requirepass ${password}`].join("\n")}\n`, { mode: 0o600 });
  const logFile = join(folder, "server.log");
  const server = await EmbeddedServer.start({ argv: ["redis-server", config], port, folder, logFile });
  lifecycle.add("redis-server", server, (it) => it.close());
  return `redis://:${password}@127.0.0.1:${port}`;
}

async function ownFolder(data: string, name: string): Promise<string> {
  const folder = join(data, name);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return folder;
}
