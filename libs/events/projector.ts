import type { Clock, Random } from "#libs/clock";
import { isStillpointError } from "#libs/errors";
import type { Logger } from "#libs/logger";
import {
  decodeRecord,
  type Log,
  type LogMessage,
  type OrderedLog,
  type RecordEvent,
  type RecordMessage,
} from "#libs/records";
import { decodeOrigin, encodeEvent, eventId, type Origin, subjectOfEvent } from "./cloud-event.ts";

export interface ProjectorDeps {
  /** Stream REC. */
  readonly records: Log;
  /** Stream EVT. */
  readonly events: OrderedLog;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Pick<Logger, "warn" | "error">;
}

const ALL_RECORDS = "rec.>";
const ALL_EVENTS = "evt.>";
const PAUSE_MS = 500;
/** Events are kept for so long; older records tell nothing new. */
const KEPT_MS = 7 * 24 * 60 * 60 * 1000;

/**
 * Publishes the events that records carry, in the records' order, each once. Any number of projectors may run: each
 * publishes with the sequence after which it believes to write, so that all but one of them fail and look again.
 */
export function startProjector(deps: ProjectorDeps): { close(): Promise<void> } {
  const stop = new AbortController();
  const done = new Projector(deps, stop.signal).run();
  return {
    close: async () => {
      stop.abort();
      await done;
    },
  };
}

/**
 * The REC sequence up to which all events are surely published: no projector needs a record again that is not newer.
 * 0 when nothing is known.
 */
export async function projectedUpTo(events: Log): Promise<number> {
  const newest = await events.read(ALL_EVENTS);
  return newest === undefined ? 0 : endOf(decodeOrigin(newest));
}

function endOf({ sequence, index, count }: Origin): number {
  return index === count - 1 ? sequence : sequence - 1;
}

class Projector {
  readonly #deps: ProjectorDeps;
  readonly #signal: AbortSignal;
  /** EVT's newest sequence. */
  #last = 0;
  /** The record that is published up to an event of it. */
  #done: Origin = { sequence: 0, index: 0, count: 1 };
  /** Records up to here may have been seen by another projector. */
  #start = 0;
  /** The newest version that this projector has seen of each record. */
  #seen = new Map<string, number>();

  constructor(deps: ProjectorDeps, signal: AbortSignal) {
    this.#deps = deps;
    this.#signal = signal;
  }

  async run(): Promise<void> {
    const { clock, random, logger } = this.#deps;
    let isNewLog = false;
    while (!this.#signal.aborted) {
      try {
        await this.#begin(isNewLog);
        isNewLog = false;
        await this.#project();
      } catch (error) {
        if (isStillpointError(error, "RESYNC")) isNewLog = true;
        else if (!isStillpointError(error)) logger.warn({ err: error }, "the projector starts again");
      }
      await clock.sleep(PAUSE_MS * (0.5 + random.next()), this.#signal).catch(() => undefined);
    }
  }

  async #begin(isNewLog: boolean): Promise<void> {
    if (isNewLog) await this.#startOver();
    else await this.#resume();
  }

  /** Finds in EVT's last message how far it is. */
  async #resume(): Promise<void> {
    const { events } = this.#deps;
    this.#last = await events.lastSequence();
    const newest = await events.read(ALL_EVENTS);
    if (newest !== undefined) this.#done = decodeOrigin(newest);
    this.#start = endOf(this.#done);
    this.#seen.clear();
  }

  /** The records were made again: all that is there is new. */
  async #startOver(): Promise<void> {
    this.#done = { sequence: 0, index: 0, count: 1 };
    this.#start = 0;
    this.#seen.clear();
    this.#last = await this.#deps.events.lastSequence();
  }

  async #project(): Promise<void> {
    const { records, clock } = this.#deps;
    for await (const message of records.follow(ALL_RECORDS, { afterSequence: this.#start, signal: this.#signal })) {
      const record = this.#read(message);
      if (record === undefined) continue;
      const events = this.#eventsOf(message, record);
      const isOld = clock.now().getTime() - message.time.getTime() > KEPT_MS;
      if (!isOld) await this.#publish(message, record.name, events);
    }
  }

  /** Undefined for what no service wrote: that has no events, and is no reason to keep back those of all that follows. */
  #read({ subject, sequence, data }: LogMessage): RecordMessage | undefined {
    try {
      const record: RecordMessage | null = decodeRecord(data);
      if (typeof record?.name === "string" && Array.isArray(record.events)) return record;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
    this.#deps.logger.error({ subject, sequence }, "a message in REC is not a record; it is passed over");
    return undefined;
  }

  async #publish(message: LogMessage, name: string, events: readonly RecordEvent[]): Promise<void> {
    const isResumed = message.sequence === this.#done.sequence;
    for (const [index, event] of events.entries()) {
      if (isResumed && index <= this.#done.index) continue;
      const origin = { sequence: message.sequence, index, count: events.length };
      this.#last = await this.#deps.events.appendNext(
        subjectOfEvent(event, name),
        encodeEvent(event, name, origin, message.time),
        {
          expectedLast: this.#last,
          messageId: `evt.${eventId(origin)}`,
          ...(event.traceparent === undefined ? {} : { traceparent: event.traceparent }),
        },
      );
      this.#done = origin;
    }
  }

  /** What a record says has happened, and before it, when versions were lost, that nobody will know what they said. */
  #eventsOf({ subject, sequence }: LogMessage, { previous, events }: RecordMessage): readonly RecordEvent[] {
    const seen = this.#seen.get(subject) ?? 0;
    this.#seen.set(subject, sequence);
    // Replicas that say all the time that they live say nothing else: so many of those are kept, and no more.
    const isGap = previous > this.#start && previous !== seen && !subject.startsWith("rec.schedulers.");
    return isGap
      ? [{ aggregate: "record", happened: "gap", data: { missing: previous, before: sequence } }, ...events]
      : events;
  }
}
