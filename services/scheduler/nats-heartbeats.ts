import type { NatsConnection } from "@nats-io/transport-node";
import { Heartbeat, HeartbeatAck } from "#contracts/host/v1/agent";
import type { Logger } from "#libs/logger";

/** hb.host.v1.<host>: requests on core NATS, ProtoJSON, every 2 s; not stored. The answer is a HeartbeatAck in ProtoJSON. */
const subject = "hb.host.v1.*";

/**
 * Gives each heartbeat to `answer` until the connection closes, and sends what that gives back. One that cannot be used
 * is logged and forgotten.
 */
export function followHeartbeats(
  nats: NatsConnection,
  logger: Logger,
  answer: (heartbeat: Heartbeat) => Promise<HeartbeatAck | undefined>,
): { close(): void } {
  const subscription = nats.subscribe(subject, {
    callback: (error, message) => {
      if (error !== null) return logger.warn({ err: error }, "heartbeats cannot be heard");
      const take = async () => {
        const ack = await answer(Heartbeat.fromJSON(message.json()));
        if (ack !== undefined) message.respond(JSON.stringify(HeartbeatAck.toJSON(ack)));
      };
      take().catch((err: unknown) => {
        logger.warn({ err, subject: message.subject }, "a heartbeat could not be taken in");
      });
    },
  });
  return { close: () => subscription.unsubscribe() };
}
