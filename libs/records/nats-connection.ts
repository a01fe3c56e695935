import { hostname } from "node:os";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import type { Lifecycle } from "#libs/lifecycle";

export interface NatsOptions {
  /** One or several, separated by commas: nats://127.0.0.1:4222. */
  readonly url: string;
  /** Shown in the server's list of connections. */
  readonly name?: string;
}

/**
 * Connects to NATS and stays connected: the client's default gives up for good after ten attempts, and notices a dead
 * peer after minutes only.
 */
export async function openNats({ url, name = "stillpoint" }: NatsOptions): Promise<NatsConnection> {
  return await connect({
    servers: url.split(","),
    name: `${name}@${hostname()}:${process.pid}`,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    reconnectJitter: 250,
    waitOnFirstConnect: true,
    pingInterval: 15_000,
    maxPingOut: 2,
  });
}

/** The service's NATS connection, closed with it. */
export async function connectNats(
  config: { readonly NATS_URL: string },
  lifecycle: Lifecycle,
): Promise<NatsConnection> {
  const nats = await openNats({ url: config.NATS_URL });
  return lifecycle.add("nats connection", nats, (connection) => connection.close());
}
