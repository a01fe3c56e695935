import { hostname } from "node:os";
import { type ConnectionOptions, connect, type NatsConnection } from "@nats-io/transport-node";
import type { Lifecycle } from "#libs/lifecycle";
import { ownIdentity } from "#libs/tls";
import { checkServers } from "./check-servers.ts";

export interface NatsOptions {
  /** One or several, separated by commas: nats://user:password@127.0.0.1:4222. The first one's user counts for all. */
  readonly url: string;
  /** Shown in the server's list of connections. */
  readonly name?: string;
}

const CONNECT_WITHIN_MS = 3_000;

/**
 * Connects to NATS and stays connected: the client's default gives up for good after ten attempts, and notices a dead
 * peer after minutes only.
 */
export async function openNats(
  { url, name = "stillpoint" }: NatsOptions,
  otherwise: ConnectionOptions = {},
): Promise<NatsConnection> {
  return await connect({
    ...serversOf(url),
    ...tlsFor(url),
    name: `${name}@${hostname()}:${process.pid}`,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    reconnectJitter: 250,
    waitOnFirstConnect: true,
    // A node that was cut off refuses nothing: the next one is tried soon, and a connection to it is given up soon.
    timeout: CONNECT_WITHIN_MS,
    pingInterval: 5_000,
    maxPingOut: 2,
    // Nodes tell of each other by addresses that only they may reach; those that we were given count.
    ignoreClusterUpdates: true,
    // An error made with its stack for each request, lest it fails, is a fiftieth of all work.
    noAsyncTraces: true,
    ...otherwise,
  });
}

/** `tls://` shows our certificate; its files are read anew for each connection, so that renewal needs no restart. */
function tlsFor(urls: string) {
  if (!urls.startsWith("tls://")) return {};
  const files = ownIdentity()?.files;
  return { tls: files === undefined ? {} : { caFile: files.ca, certFile: files.cert, keyFile: files.key } };
}

/** The client takes no user from a URL: it is given apart. */
function serversOf(urls: string): { servers: string[]; user?: string; pass?: string; inboxPrefix?: string } {
  const parsed = urls.split(",").map((url) => new URL(url));
  const servers = parsed.map(({ protocol, host }) => `${protocol}//${host}`);
  const { username = "", password = "" } = parsed[0] ?? {};
  return username === ""
    ? { servers }
    : {
        servers,
        user: decodeURIComponent(username),
        pass: decodeURIComponent(password),
        // A user with least rights hears its own answers only.
        inboxPrefix: `_INBOX_${decodeURIComponent(username)}`,
      };
}

/**
 * The service's NATS connection, closed with it. With NATS_MONITOR_URL, refuses servers that lose writes.
 */
export async function connectNats(
  config: { readonly NATS_URL: string; readonly NATS_MONITOR_URL?: string | undefined },
  lifecycle: Lifecycle,
): Promise<NatsConnection> {
  const nats = await openNats({ url: config.NATS_URL });
  lifecycle.add("nats connection", nats, (connection) => connection.close());
  if (config.NATS_MONITOR_URL !== undefined) await checkServers(config.NATS_MONITOR_URL);
  return nats;
}
