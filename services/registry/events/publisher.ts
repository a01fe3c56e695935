import type { Clock, Random } from "#libs/clock";
import { isStillpointError } from "#libs/errors";
import type { Logger } from "#libs/logger";
import type { Json, RecordEvent, RecordStore, StoredRecord } from "#libs/records";
import { recordNameOf } from "../domain/record-name.ts";
import type { Outbox, OutboxEntry } from "./outbox.ts";

export interface PublisherDeps {
  readonly outbox: Outbox;
  readonly records: RecordStore<Json>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

const RETRY_MS = 1_000;
/** How often entries are looked for that another replica has left behind. */
const LOOK_EVERY_MS = 15_000;
/** Entries that a repository's record remembers to have published. */
const REMEMBERED = 500;

/**
 * Publishes the outbox: a repository's entries become events of its record, from where the projector takes them to
 * the public stream. The record remembers the entries that it has published: an event comes once, whoever dies.
 */
export async function publishOutbox(deps: PublisherDeps, signal: AbortSignal): Promise<void> {
  const { outbox, clock, logger } = deps;
  let added = outbox.added(signal);
  while (!signal.aborted) {
    try {
      if (await publishOldest(deps)) continue;
      const slept = new AbortController();
      const asleep = clock.sleep(LOOK_EVERY_MS, AbortSignal.any([signal, slept.signal])).catch(() => {});
      const isAdded = await Promise.race([added.then(() => true), asleep.then(() => false)]);
      slept.abort();
      if (isAdded) added = outbox.added(signal);
    } catch (err) {
      if (signal.aborted) return;
      logger.warn({ err }, "events wait to be published");
      await clock.sleep(RETRY_MS, signal).catch(() => {});
    }
  }
}

/** False when there was nothing. */
async function publishOldest(deps: PublisherDeps): Promise<boolean> {
  const entries = await deps.outbox.oldest();
  for (const [repository, own] of Map.groupBy(entries, ({ change }) => change.repository)) {
    await publish(deps, repository, own);
    await deps.outbox.published(own);
  }
  return entries.length > 0;
}

async function publish({ records, random }: PublisherDeps, repository: string, entries: readonly OutboxEntry[]) {
  const name = recordNameOf(repository);
  const found = await records.get(name);
  if (found === undefined) {
    const made = {
      uid: random.id("repository"),
      body: bodyWith(repository, [], entries),
      events: entries.map(eventOf),
    };
    const isMade = await records.create(name, made).then(() => true, someoneElse);
    if (isMade) return;
  }
  await records.modify(name, (stored) => {
    const published = publishedBy(stored);
    const news = entries.filter(({ id }) => !published.includes(id));
    if (news.length === 0) return undefined;
    return { body: bodyWith(repository, published, news), events: news.map(eventOf) };
  });
}

function someoneElse(error: unknown): false {
  if (isStillpointError(error, "RECORD_CONFLICT")) return false;
  throw error;
}

function bodyWith(repository: string, published: readonly string[], entries: readonly OutboxEntry[]): Json {
  return { repository, published: [...published, ...entries.map(({ id }) => id)].slice(-REMEMBERED) };
}

function publishedBy({ body }: StoredRecord<Json>): readonly string[] {
  const { published } = body as { published?: unknown };
  return Array.isArray(published) ? published.filter((id) => typeof id === "string") : [];
}

function eventOf({ change, time, traceparent }: OutboxEntry): RecordEvent {
  const { action, ...data } = change;
  return {
    aggregate: "image",
    happened: action,
    data,
    time,
    ...(traceparent !== undefined && { traceparent }),
  };
}
