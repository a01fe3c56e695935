import { AckPolicy, type JsMsg, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { type NatsConnection, nanos } from "@nats-io/transport-node";
import { Observation } from "#contracts/host/v1/agent";
import type { Clock } from "#libs/clock";
import type { Logger } from "#libs/logger";

export interface ObservationDeps {
  readonly nats: NatsConnection;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

const stream = "OBS";
const consumer = { durable_name: "checkpoint", ack_policy: AckPolicy.Explicit, filter_subject: "obs.vm.*" };
/** A checkpoint may be observed before its record is written. After half an hour nobody waits for it any more. */
const againMs = 2_000;
const tries = 900;
const restartMs = 500;

/**
 * Gives each observation to `take`, shared with the other replicas, until the signal aborts. `take` gives false to
 * have it again later. Survives restarts of the server.
 */
export async function followObservations(
  deps: ObservationDeps,
  take: (observation: Observation) => Promise<boolean>,
): Promise<void> {
  const { nats, clock, logger, signal } = deps;
  while (!signal.aborted) {
    try {
      const manager = await jetstreamManager(nats);
      await manager.consumers.add(stream, { ...consumer, ack_wait: nanos(30_000), max_deliver: tries });
      await consume(deps, take);
    } catch (error) {
      if (signal.aborted) return;
      logger.warn({ err: error }, "observations cannot be read");
    }
    await clock.sleep(restartMs, signal).catch(() => undefined);
  }
}

async function consume(
  { nats, logger, signal }: ObservationDeps,
  take: (observation: Observation) => Promise<boolean>,
): Promise<void> {
  const source = await jetstream(nats).consumers.get(stream, consumer.durable_name);
  const messages = await source.consume({ max_messages: 100 });
  const stop = () => messages.stop();
  signal.addEventListener("abort", stop, { once: true });
  try {
    if (signal.aborted) return;
    for await (const message of messages) await settle(message, logger, take);
  } finally {
    signal.removeEventListener("abort", stop);
    messages.stop();
  }
}

async function settle(message: JsMsg, logger: Logger, take: (observation: Observation) => Promise<boolean>) {
  try {
    const isTaken = await take(Observation.fromJSON(message.json()));
    if (isTaken) message.ack();
    else message.nak(againMs);
  } catch (error) {
    logger.warn({ err: error, subject: message.subject }, "an observation could not be folded in");
    message.nak(againMs);
  }
}
