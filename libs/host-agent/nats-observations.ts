import { AckPolicy, type JsMsg, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { type NatsConnection, nanos } from "@nats-io/transport-node";
import { Observation } from "#contracts/host/v1/agent";
import type { Clock } from "#libs/clock";
import type { Logger } from "#libs/logger";
import { ensureConsumer } from "#libs/records";

export interface ObservationFeedDeps {
  /** Name of the service: its replicas share the observations, each service gets all of them. */
  readonly service: string;
  /** Which of them: "obs.vm.>", "obs.container.>", or "obs.>" for all. The subject is obs.<kind>.<uid>.<host>. */
  readonly filter: string;
  readonly nats: NatsConnection;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Gives false to have it again later. `attempt` counts from 1. */
export type TakeObservation = (observation: Observation, attempt: number) => Promise<boolean>;

const stream = "OBS";
/** A thing may be observed before its record is written. After some seven hours nobody waits for it any more. */
const tries = 900;
const firstPauseMs = 500;
const longestPauseMs = 30_000;
const restartMs = 500;
/** Two missed heartbeats make the client look whether its consumer is still there, as it is not when its stream was lost. */
const pull = { max_messages: 100, expires: 10_000, idle_heartbeat: 2_500, abort_on_missing_resource: true };

/**
 * Gives each observation to `take`, shared with the other replicas, until the signal aborts: those of one workload one
 * after the other, those of others meanwhile. Survives restarts of the server.
 */
export async function followObservations(deps: ObservationFeedDeps, take: TakeObservation): Promise<void> {
  const { service, filter, nats, clock, logger, signal } = deps;
  const consumer = {
    durable_name: service,
    ack_policy: AckPolicy.Explicit,
    filter_subject: filter,
    ack_wait: nanos(30_000),
    max_ack_pending: 1_000,
    max_deliver: tries,
  };
  while (!signal.aborted) {
    try {
      const manager = await jetstreamManager(nats);
      await ensureConsumer(manager, stream, consumer);
      await consume(deps, take);
    } catch (err) {
      if (signal.aborted) return;
      logger.warn({ err }, "observations cannot be read");
    }
    await clock.sleep(restartMs, signal).catch(() => undefined);
  }
}

async function consume({ service, nats, logger, signal }: ObservationFeedDeps, take: TakeObservation) {
  const source = await jetstream(nats).consumers.get(stream, service);
  const messages = await source.consume(pull);
  const stop = () => messages.stop();
  signal.addEventListener("abort", stop, { once: true });
  const last = new Map<string, Promise<void>>();
  try {
    if (signal.aborted) return;
    for await (const message of messages) {
      const { subject } = message;
      const settled = (last.get(subject) ?? Promise.resolve()).then(() => settle(message, logger, take));
      last.set(subject, settled);
      void settled.finally(() => {
        if (last.get(subject) === settled) last.delete(subject);
      });
    }
  } finally {
    signal.removeEventListener("abort", stop);
    messages.stop();
  }
}

async function settle(message: JsMsg, logger: Logger, take: TakeObservation): Promise<void> {
  const againMs = Math.min(firstPauseMs * 2 ** Math.min(message.info.deliveryCount - 1, 10), longestPauseMs);
  try {
    const observation = Observation.fromJSON(message.json());
    if (!isOfSender(observation, message.subject)) {
      logger.warn({ subject: message.subject }, "an observation is not of the host that sent it");
      return message.term();
    }
    const isTaken = await take(observation, message.info.deliveryCount);
    if (isTaken) message.ack();
    else message.nak(againMs);
  } catch (err) {
    logger.warn({ err, subject: message.subject }, "an observation could not be folded in");
    message.nak(againMs);
  }
}

/** NATS lets a host publish under its own name alone. Agents of 0.1 did not name themselves in the subject. */
function isOfSender({ uid, host }: Observation, subject: string): boolean {
  const [, , about, sender] = subject.split(".");
  return about === uid && (sender === undefined || host === `hosts/${sender}`);
}
