import { setTimeout as sleep } from "node:timers/promises";
import type { NatsConnection } from "@nats-io/transport-node";
import { openManager } from "./jetstream-log.ts";
import { isOutOfRoom } from "./outage.ts";

const LOOK_EVERY_MS = 2_000;
/** One may be lost to a cluster that elects its leader. */
const MISSES = 3;

/**
 * Whether NATS is there at this moment, somebody in it answers for the streams, and it has room for more; for health
 * checks. All that comes back without this process's doing.
 */
export function natsHealth(nats: NatsConnection): () => boolean {
  let isConnected = !nats.isClosed();
  let missed = 0;
  const follow = async () => {
    for await (const { type } of nats.status()) {
      if (type === "disconnect" || type === "close") isConnected = false;
      if (type === "reconnect") isConnected = true;
    }
    isConnected = false;
  };
  const look = async () => {
    const manager = await openManager(nats);
    while (!nats.isClosed()) {
      const answers = await manager.getAccountInfo().then(
        () => true,
        () => false,
      );
      missed = answers || !isConnected ? 0 : missed + 1;
      await sleep(LOOK_EVERY_MS, undefined, { ref: false });
    }
  };
  follow().catch(() => undefined);
  look().catch(() => undefined);
  return () => isConnected && missed < MISSES && !isOutOfRoom(nats);
}
