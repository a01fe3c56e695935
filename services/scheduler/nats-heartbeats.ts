import type { NatsConnection } from "@nats-io/transport-node";
import { Heartbeat, HeartbeatAck } from "#contracts/host/v1/agent";
import type { Logger } from "#libs/logger";

/** hb.host.v1.<host>: requests on core NATS, ProtoJSON, every 2 s; not stored. The answer is a HeartbeatAck in ProtoJSON. */
const prefix = "hb.host.v1.";

export interface HeartbeatListener {
  /** Of every host, before its heartbeat is read; false when that need not be read here. */
  notice(host: string): boolean;
  /** Gives what the host gets back; undefined for nothing. */
  answer(heartbeat: Heartbeat): Promise<HeartbeatAck | undefined>;
}

/**
 * Gives each heartbeat to the listener until the connection closes, and sends its answer. One that cannot be used is
 * logged and forgotten.
 */
export function followHeartbeats(nats: NatsConnection, logger: Logger, listener: HeartbeatListener): { close(): void } {
  const subscription = nats.subscribe(`${prefix}*`, {
    callback: (error, message) => {
      if (error !== null) return logger.warn({ err: error }, "heartbeats cannot be heard");
      const host = `hosts/${message.subject.slice(prefix.length)}`;
      if (!listener.notice(host)) return;
      const take = async () => {
        const heartbeat = Heartbeat.fromJSON(message.json());
        // The server lets an agent speak for its own host alone.
        if (heartbeat.host !== host) throw new Error(`it is said to be of ${heartbeat.host}`);
        const ack = await listener.answer(heartbeat);
        if (ack !== undefined) message.respond(JSON.stringify(HeartbeatAck.toJSON(ack)));
      };
      take().catch((err: unknown) => {
        logger.warn({ err, subject: message.subject }, "a heartbeat could not be taken in");
      });
    },
  });
  return { close: () => subscription.unsubscribe() };
}
