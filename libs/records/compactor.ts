import type { Clock } from "#libs/clock";
import type { Log } from "./log.ts";

/** A log from which the oldest messages of a subject can be taken away. */
export interface PurgeableLog extends Log {
  /** Subjects under the filter with more messages than `atMost`. */
  crowded(filter: string, atMost: number): Promise<string[]>;
  /** Sequences of a subject's messages, oldest first. */
  sequencesOf(subject: string): Promise<number[]>;
  /** Takes away the subject's messages before a sequence. */
  purge(subject: string, before: number): Promise<void>;
}

export interface CompactorDeps {
  /** Stream REC. */
  readonly records: PurgeableLog;
  /** The sequence up to which the events of records are published; 0 when that is not known. */
  projected(): Promise<number>;
  readonly clock: Clock;
  readonly logger: { warn(fields: object, message: string): void };
}

const ALL_RECORDS = "rec.>";
const EVERY_MS = 10 * 60 * 1000;
/** How many states of a record are kept for people who look at what happened. */
const KEPT = 8;

/** Takes away old states of records, now and then. Any number of them may run. */
export function startCompactor(deps: CompactorDeps): { close(): Promise<void> } {
  const stop = new AbortController();
  const done = compactAlways(deps, stop.signal);
  return {
    close: async () => {
      stop.abort();
      await done;
    },
  };
}

async function compactAlways(deps: CompactorDeps, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await deps.clock.sleep(EVERY_MS, signal).catch(() => undefined);
    if (signal.aborted) return;
    // What is not taken away now is taken away in the next round.
    await compact(deps, signal).catch((error: unknown) => deps.logger.warn({ err: error }, "old records stay"));
  }
}

/** One round: of each record the last 8 states stay, and all whose events are not published yet. */
export async function compact(
  { records, projected }: Pick<CompactorDeps, "records" | "projected">,
  signal?: AbortSignal,
): Promise<void> {
  const upTo = await projected();
  for (const subject of await records.crowded(ALL_RECORDS, KEPT)) {
    if (signal?.aborted === true) return;
    // Not the server's own "keep 8": what is written between looking and purging would push out what was not published.
    const oldestKept = (await records.sequencesOf(subject)).at(-KEPT) ?? 0;
    const before = Math.min(oldestKept, upTo + 1);
    if (before > 1) await records.purge(subject, before);
  }
}
