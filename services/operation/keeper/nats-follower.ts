import { AckPolicy, DeliverPolicy, type JsMsg, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { type NatsConnection, nanos } from "@nats-io/transport-node";
import type { Clock } from "#libs/clock";
import type { Logger } from "#libs/logger";
import { ensureConsumer, type LogMessage } from "#libs/records";

export interface FollowDeps {
  readonly nats: NatsConnection;
  readonly clock: Clock;
  readonly logger: Pick<Logger, "debug">;
  readonly signal: AbortSignal;
}

/** What is followed of REC, under a name by which all replicas share it. */
export interface Followed {
  readonly name: string;
  readonly filter: string;
}

/** Takes messages in order of the log; gives the subjects of those that are to come again later. */
export type TakeMessages = (messages: readonly LogMessage[]) => Promise<ReadonlySet<string>>;

const stream = "REC";
const BATCH = { max_messages: 256, expires: 1_000 };
const RESTART_MS = 1_000;
const AGAIN_MS = 30_000;

/** Goes on where all replicas together stood, from the newest state of each record at first. Runs until the signal. */
export async function followDurable(deps: FollowDeps, followed: Followed, take: TakeMessages): Promise<void> {
  const { nats, clock, logger, signal } = deps;
  const consumer = {
    durable_name: followed.name,
    filter_subject: followed.filter,
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.LastPerSubject,
    ack_wait: nanos(60_000),
    max_ack_pending: 20_000,
  };
  while (!signal.aborted) {
    try {
      await ensureConsumer(await jetstreamManager(nats), stream, consumer);
      await consume(deps, followed, take);
    } catch (err) {
      if (!signal.aborted) logger.debug({ err }, "records cannot be read for hosts to keep");
    }
    await clock.sleep(RESTART_MS, signal).catch(() => undefined);
  }
}

async function consume({ nats, signal }: FollowDeps, { name }: Followed, take: TakeMessages): Promise<void> {
  const source = await jetstream(nats).consumers.get(stream, name);
  while (!signal.aborted) {
    const fetched = await source.fetch(BATCH);
    const stop = () => fetched.stop();
    signal.addEventListener("abort", stop, { once: true });
    const batch: JsMsg[] = [];
    for await (const message of fetched) batch.push(message);
    signal.removeEventListener("abort", stop);
    // Nothing came: it may be that the consumer is gone.
    if (batch.length === 0) await source.info();
    settle(batch, await take(batch.map(toLogMessage)));
  }
}

function settle(batch: readonly JsMsg[], late: ReadonlySet<string>): void {
  for (const message of batch) {
    if (late.has(message.subject)) message.nak(AGAIN_MS);
    else message.ack();
  }
}

function toLogMessage({ subject, seq, time, data }: JsMsg): LogMessage {
  return { subject, sequence: seq, time, data };
}
