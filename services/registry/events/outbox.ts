import type { Clock, Random } from "#libs/clock";
import { Wakeup } from "#libs/records";
import { traceparent } from "#libs/telemetry";
import { keys } from "../store/keys.ts";
import type { ObjectStore } from "../store/object-store.ts";
import type { Change } from "./changes.ts";

/** A change that waits to be published. */
export interface OutboxEntry {
  /** Unique among all. */
  readonly id: string;
  readonly change: Change;
  /** ISO 8601. */
  readonly time: string;
  readonly traceparent?: string;
}

export interface OutboxDeps {
  readonly objects: ObjectStore;
  readonly clock: Clock;
  readonly random: Random;
}

const AT_ONCE = 200;

/**
 * What has happened and is not published yet, an object each in the store, so that an event is not lost once its push
 * was answered, and no push waits for NATS. Any replica publishes what it finds.
 */
export class Outbox {
  readonly #deps: OutboxDeps;
  readonly #wakeup = new Wakeup();

  constructor(deps: OutboxDeps) {
    this.#deps = deps;
  }

  async add(change: Change): Promise<void> {
    const { objects, clock, random } = this.#deps;
    const id = random.id("change");
    const trace = traceparent();
    const entry = { id, change, time: clock.now().toISOString(), ...(trace !== undefined && { traceparent: trace }) };
    await objects.put(keys.outbox(id), JSON.stringify(entry satisfies OutboxEntry));
    this.#wakeup.wake();
  }

  /** The oldest entries. */
  async oldest(): Promise<OutboxEntry[]> {
    const { objects } = this.#deps;
    const listed = await objects.list(keys.outboxes, { limit: AT_ONCE });
    const found = await Promise.all(listed.map((key) => objects.read(key)));
    return found.flatMap((object) => (object === undefined ? [] : [JSON.parse(object.bytes.toString())]));
  }

  async published(entries: readonly OutboxEntry[]): Promise<void> {
    await this.#deps.objects.delete(entries.map(({ id }) => keys.outbox(id)));
  }

  /** Resolves when something was added here, or the signal aborts. */
  async added(signal: AbortSignal): Promise<void> {
    await this.#wakeup.next(signal);
  }
}
