import type { NatsConnection } from "@nats-io/transport-node";
import { Heartbeat } from "#contracts/host/v1/agent";
import type { Logger } from "#libs/logger";

/** hb.host.v1.<host>: core NATS, ProtoJSON, every 2 s; not stored. */
const subject = "hb.host.v1.*";

/** Gives each heartbeat to `heard` until the connection closes; one that cannot be used is logged and forgotten. */
export function followHeartbeats(
  nats: NatsConnection,
  logger: Logger,
  heard: (heartbeat: Heartbeat) => Promise<void>,
): { close(): void } {
  const subscription = nats.subscribe(subject, {
    callback: (error, message) => {
      if (error !== null) return logger.warn({ err: error }, "heartbeats cannot be heard");
      const take = async () => heard(Heartbeat.fromJSON(message.json()));
      take().catch((err: unknown) => {
        logger.warn({ err, subject: message.subject }, "a heartbeat could not be taken in");
      });
    },
  });
  return { close: () => subscription.unsubscribe() };
}
