import { createHash } from "node:crypto";
import { Cron } from "croner";
import type { Due, Timetable } from "../domain/due.ts";

export interface TimetableOptions {
  /** A checked cron expression of five fields. */
  readonly cron: string;
  /** IANA name. */
  readonly timeZone: string;
  /** Below the time between two runs. */
  readonly jitterMs: number;
  /** The schedule's uid: its jitter differs from that of others. */
  readonly uid: string;
}

/**
 * The times of a schedule. A time of day that the clock jumps over in spring comes right after the jump, and one that
 * comes twice in autumn counts once; what recurs within the hour follows the clock on the wall.
 */
export function createTimetable(options: TimetableOptions): Timetable {
  const cron = new Cron(options.cron, { mode: "5-part", timezone: options.timeZone, paused: true });
  const dueAt = (dueTime: Date): Due => ({
    dueTime,
    runTime: new Date(dueTime.getTime() + jitterOf(options, dueTime)),
  });
  return {
    next(after) {
      const dueTime = cron.nextRun(after);
      if (dueTime === null) throw new Error(`the cron expression ${options.cron} names no time`);
      return dueAt(dueTime);
    },
    newest(upTo) {
      // The reference is left out, and counts in whole seconds; the last one's jitter may reach past the time.
      const reference = new Date(Math.floor(upTo.getTime() / 1000 + 1) * 1000);
      return cron
        .previousRuns(2, reference)
        .map(dueAt)
        .find(({ runTime }) => runTime <= upTo);
    },
  };
}

/** The next `count` runs after a time. */
export function upcoming(timetable: Timetable, after: Date, count: number): Due[] {
  const found: Due[] = [];
  for (let last = after; found.length < count; ) {
    const due = timetable.next(last);
    found.push(due);
    last = due.dueTime;
  }
  return found;
}

/** Whole milliseconds from 0 to below `jitterMs`, always the same for the same schedule and due time. */
function jitterOf({ uid, jitterMs }: TimetableOptions, dueTime: Date): number {
  if (jitterMs === 0) return 0;
  const digest = createHash("sha256").update(`${uid} ${dueTime.toISOString()}`).digest();
  return Math.floor((digest.readUIntBE(0, 6) / 2 ** 48) * jitterMs);
}
