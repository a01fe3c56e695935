import { setTimeout as sleep } from "node:timers/promises";
import {
  AckPolicy,
  type Consumer,
  type ConsumerMessages,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg,
  jetstream,
  jetstreamManager,
} from "@nats-io/jetstream";
import { type NatsConnection, nanos } from "@nats-io/transport-node";
import { ensureConsumer, ensureStream, replicated, streamSpecs, Wakeup } from "#libs/records";
import type { JobHint, JobQueue, TakeOptions } from "./job-queue.ts";

const ACK_WITHIN_MS = 30_000;
const RETRY_MS = 500;
const FETCH = { expires: 10_000, idle_heartbeat: 2_500 };
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
    return new JetStreamJobQueue(nats, await jetstreamManager(nats, { checkAPI: false }));
  }

  hint(service: string, operationId: string): void {
    this.#nats.publish(`job.${service}`, JSON.stringify({ opId: operationId }));
  }

  /** Goes on for ever: the stream is in memory, and a restart of the server takes it and its consumers away. */
  async *take(service: string, { atMost, signal }: TakeOptions): AsyncGenerator<JobHint> {
    const room = new Room(atMost);
    while (!signal.aborted) {
      try {
        const consumer = await this.#consumer(service);
        yield* this.#takeFrom(consumer, room, signal);
      } catch {
        // Made again; the sweeper finds what was hinted meanwhile.
        await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  /**
   * Asks the server for as many as there is room for: what waits in a busy worker's buffer would be kept from the
   * others until it is delivered again. Ends when none came for a while, or the consumer may be gone.
   */
  async *#takeFrom(consumer: Consumer, room: Room, signal: AbortSignal): AsyncGenerator<JobHint> {
    const over = new AbortController();
    let fetched: ConsumerMessages | undefined;
    const stop = () => {
      over.abort();
      fetched?.stop();
    };
    signal.addEventListener("abort", stop, { once: true });
    const reconnects = this.#nats.status() as ReturnType<NatsConnection["status"]> & { stop(): void };
    void (async () => {
      for await (const status of reconnects) if (status.type === "reconnect") stop();
    })();
    try {
      for (let isBusy = true; isBusy && !signal.aborted; ) {
        const free = await room.some(over.signal);
        if (over.signal.aborted) return;
        fetched = await consumer.fetch({ ...FETCH, max_messages: free });
        if (over.signal.aborted) return;
        isBusy = false;
        for await (const message of fetched) {
          isBusy = true;
          yield toHint(message, room.take());
        }
      }
    } finally {
      signal.removeEventListener("abort", stop);
      reconnects.stop();
      stop();
    }
  }

  async #consumer(service: string): Promise<Consumer> {
    await ensureStream(this.#manager, replicated(this.#nats, config));
    await ensureConsumer(this.#manager, config.name, {
      durable_name: service,
      filter_subject: `job.${service}`,
      ack_policy: AckPolicy.Explicit,
      ack_wait: nanos(ACK_WITHIN_MS),
      max_ack_pending: 1_024,
    });
    return await this.#client.consumers.get(config.name, service);
  }
}

/** How many hints a worker may still take. */
class Room {
  readonly #left = new Wakeup();
  #free: number;

  constructor(atMost: number) {
    this.#free = atMost;
  }

  /** Waits until there is some; gives how many. */
  async some(signal: AbortSignal): Promise<number> {
    while (this.#free === 0 && !signal.aborted) await this.#left.next(signal);
    return this.#free;
  }

  /** Gives the way to leave again. */
  take(): () => void {
    this.#free--;
    return () => {
      this.#free++;
      this.#left.wake();
    };
  }
}

function toHint(message: JsMsg, leave: () => void): JobHint {
  const { opId } = message.json<{ opId: string }>();
  return {
    operationId: opId,
    working: () => message.working(),
    finish: async () => {
      leave();
      // An ack that got lost brings the hint back, to an operation that is done.
      await message.ackAck().catch(() => undefined);
    },
    again: (delayMs) => {
      leave();
      message.nak(delayMs);
    },
  };
}
