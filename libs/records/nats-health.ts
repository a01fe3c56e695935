import { setTimeout as sleep } from "node:timers/promises";
import type { NatsConnection } from "@nats-io/transport-node";
import { openManager } from "./jetstream-log.ts";
import { isOutOfRoom } from "./outage.ts";

const LOOK_EVERY_MS = 2_000;
/** One may be lost to a cluster that elects its leader. */
const MISSES = 3;

/**
 * A node of a cluster that is cut off from the others, or was and has not found to them yet, takes connections and
 * answers nothing: another one may.
 */
async function leaveNode(nats: NatsConnection): Promise<void> {
  const { connect_urls: nodes = [] } = nats.info ?? {};
  if (nodes.length > 1) await nats.reconnect().catch(() => undefined);
}

/**
 * Whether NATS is there at this moment, somebody in it answers for the streams, and it has room for more; for health
 * checks. All that comes back without this process's doing; but from a node that answers nothing it goes to another.
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
      if (missed > 0 && missed % MISSES === 0) await leaveNode(nats);
      await sleep(LOOK_EVERY_MS, undefined, { ref: false });
    }
  };
  follow().catch(() => undefined);
  look().catch(() => undefined);
  return () => isConnected && missed < MISSES && !isOutOfRoom(nats);
}
