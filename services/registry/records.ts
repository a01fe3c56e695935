import type { NatsConnection } from "@nats-io/transport-node";
import type { Lifecycle } from "#libs/lifecycle";
import { connectNats, type Log, openStreams } from "#libs/records";
import type { RegistryConfig } from "./config.ts";
import { Late } from "./late.ts";

/** Where accounts, quotas and events are. */
export interface Records {
  readonly connection: NatsConnection;
  readonly log: Log;
}

/** Undefined where nothing is kept as a record: then no NATS is needed. */
export function openRecords(config: RegistryConfig, lifecycle: Lifecycle): Late<Records> | undefined {
  if (config.REGISTRY_AUTH === "none" && config.REGISTRY_EVENTS === "none") return undefined;
  const open = async (): Promise<Records> => {
    const connection = await connectNats(config, lifecycle);
    return { connection, log: (await openStreams(connection)).rec };
  };
  return new Late(open(), lifecycle.signal);
}
