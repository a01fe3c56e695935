import { setTimeout as sleep } from "node:timers/promises";
import {
  AckPolicy,
  type Consumer,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg,
  jetstream,
  jetstreamManager,
} from "@nats-io/jetstream";
import { type NatsConnection, nanos } from "@nats-io/transport-node";
import { ensureStream, streamSpecs } from "#libs/records";
import type { JobHint, JobQueue, TakeOptions } from "./job-queue.ts";

const ACK_WITHIN_MS = 30_000;
const RETRY_MS = 500;
const { config } = streamSpecs.JOBS;

/** Hints over the work-queue stream JOBS, one durable consumer for each service. */
export class JetStreamJobQueue implements JobQueue {
  readonly #nats: NatsConnection;
  readonly #manager: JetStreamManager;
  readonly #client: JetStreamClient;

  private constructor(nats: NatsConnection, manager: JetStreamManager) {
    this.#nats = nats;
    this.#manager = manager;
    this.#client = jetstream(nats);
  }

  static async open(nats: NatsConnection): Promise<JetStreamJobQueue> {
    return new JetStreamJobQueue(nats, await jetstreamManager(nats));
  }

  hint(service: string, operationId: string): void {
    this.#nats.publish(`job.${service}`, JSON.stringify({ opId: operationId }));
  }

  /** Goes on for ever: the stream is in memory, and a restart of the server takes it and its consumers away. */
  async *take(service: string, options: TakeOptions): AsyncGenerator<JobHint> {
    while (!options.signal.aborted) {
      try {
        const consumer = await this.#consumer(service);
        yield* this.#takeFrom(consumer, options);
      } catch {
        // Made again below; the sweeper finds what was hinted meanwhile.
      }
      await sleep(RETRY_MS, undefined, { signal: options.signal }).catch(() => undefined);
    }
  }

  async *#takeFrom(consumer: Consumer, { atMost, signal }: TakeOptions): AsyncGenerator<JobHint> {
    const messages = await consumer.consume({
      max_messages: atMost,
      expires: 10_000,
      idle_heartbeat: 2_500,
      abort_on_missing_resource: true,
    });
    const stop = () => messages.stop();
    signal.addEventListener("abort", stop, { once: true });
    const statuses = this.#nats.status() as ReturnType<NatsConnection["status"]> & { stop(): void };
    void (async () => {
      for await (const status of statuses) if (status.type === "reconnect") messages.stop();
    })();
    try {
      if (!signal.aborted) for await (const message of messages) yield toHint(message);
    } finally {
      signal.removeEventListener("abort", stop);
      statuses.stop();
      messages.stop();
    }
  }

  async #consumer(service: string): Promise<Consumer> {
    await ensureStream(this.#manager, config);
    await this.#manager.consumers.add(config.name, {
      durable_name: service,
      filter_subject: `job.${service}`,
      ack_policy: AckPolicy.Explicit,
      ack_wait: nanos(ACK_WITHIN_MS),
      max_ack_pending: 1_024,
    });
    return await this.#client.consumers.get(config.name, service);
  }
}

function toHint(message: JsMsg): JobHint {
  const { opId } = message.json<{ opId: string }>();
  return {
    operationId: opId,
    working: () => message.working(),
    finish: async () => {
      // An ack that got lost brings the hint back, to an operation that is done.
      await message.ackAck().catch(() => undefined);
    },
    again: (delayMs) => message.nak(delayMs),
  };
}
