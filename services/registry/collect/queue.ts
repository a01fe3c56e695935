import type { Clock, Random } from "#libs/clock";
import { keys, repositoryOfQueued } from "../store/keys.ts";
import type { ObjectStore } from "../store/object-store.ts";

export interface QueueDeps {
  readonly objects: ObjectStore;
  readonly clock: Clock;
  readonly random: Random;
}

/** What there is to do in a repository, and its entries in the queue. */
export interface QueuedRepository {
  readonly repository: string;
  readonly entries: readonly string[];
}

const TIME_DIGITS = 15;

/**
 * The repositories that collection should look at: an object for each request, named `<when in ms>-<id>`, so that every
 * replica sees it and a restart loses none. Should one be lost nevertheless, the next verification finds what it meant.
 */
export class CollectionQueue {
  readonly #deps: QueueDeps;

  constructor(deps: QueueDeps) {
    this.#deps = deps;
  }

  /** @param whenMs wall clock; now if unsaid */
  async add(repository: string, whenMs: number = this.#deps.clock.now().getTime()): Promise<void> {
    const { objects, random } = this.#deps;
    const time = `${Math.ceil(whenMs)}`.padStart(TIME_DIGITS, "0");
    await objects.put(keys.queued(repository, `${time}-${random.id("look")}`), "");
  }

  /** The repositories whose time has come, with all their entries, also those for later: one look serves them all. */
  async due(): Promise<QueuedRepository[]> {
    const { objects, clock } = this.#deps;
    const now = `${clock.now().getTime()}`.padStart(TIME_DIGITS, "0");
    const byRepository = Map.groupBy(await objects.list(keys.queues), repositoryOfQueued);
    const isDue = (entry: string) => entry.slice(entry.lastIndexOf("/") + 1).slice(0, TIME_DIGITS) <= now;
    return [...byRepository].flatMap(([repository, entries]) => (entries.some(isDue) ? [{ repository, entries }] : []));
  }

  /** Removes what a look has served, and notes when the next one is worth it. */
  async served({ repository, entries }: QueuedRepository, nextMs: number | undefined): Promise<void> {
    if (nextMs !== undefined) await this.add(repository, nextMs);
    await this.#deps.objects.delete(entries);
  }
}
