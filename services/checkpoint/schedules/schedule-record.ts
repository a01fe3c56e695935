import { Retention, type Schedule } from "#contracts/checkpoint/v1/schedule";
import { StillpointError } from "#libs/errors";
import { operationName, parseScheduleName } from "#libs/names";
import type { RecordEvent, RecordStore, StoredRecord } from "#libs/records";
import type { Due, Timetable } from "../domain/due.ts";
import type { RetentionRules } from "../domain/retention.ts";
import { createTimetable, upcoming } from "./timetable.ts";

export type StoredSchedule = StoredRecord<Schedule>;

const shownRuns = 3;

/** NAME_INVALID or SCHEDULE_NOT_FOUND. */
export async function findSchedule(schedules: RecordStore<Schedule>, name: string): Promise<StoredSchedule> {
  parseScheduleName(name);
  const stored = await schedules.get(name);
  if (stored === undefined) throw scheduleNotFound(name);
  return stored;
}

export const scheduleNotFound = (name: string): StillpointError =>
  new StillpointError("SCHEDULE_NOT_FOUND", `there is no schedule ${name}`);

/** A stored schedule as the API shows it. */
export function toApi({ body, operation, version, time }: StoredSchedule): Schedule {
  const { nextDueTime, nextRunTime } = body;
  const later = nextDueTime === undefined ? [] : upcoming(timetableOf(body), nextDueTime, shownRuns - 1);
  return {
    ...body,
    upcoming: [...(nextRunTime === undefined ? [] : [nextRunTime]), ...later.map(({ runTime }) => runTime)],
    operation: operation === undefined ? "" : operationName(operation),
    updateTime: time,
    version,
  };
}

/** The times of a schedule whose fields have been checked. */
export const timetableOf = ({ uid, cron, timeZone, jitter }: Schedule): Timetable =>
  createTimetable({ uid, cron, timeZone: timeZoneOf(timeZone), jitterMs: jitterMsOf(jitter) });

export const timeZoneOf = (timeZone: string): string => (timeZone === "" ? "UTC" : timeZone);

export const jitterMsOf = (jitter: Schedule["jitter"]): number =>
  jitter === undefined ? 0 : jitter.seconds * 1000 + jitter.nanos / 1_000_000;

/** What its record holds of its next run: nothing while it is paused. */
export function nextRun(schedule: Schedule, now: Date): Pick<Schedule, "nextDueTime" | "nextRunTime"> {
  return schedule.paused
    ? { nextDueTime: undefined, nextRunTime: undefined }
    : nextFields(timetableOf(schedule).next(now));
}

export const nextFields = ({ dueTime, runTime }: Due) => ({ nextDueTime: dueTime, nextRunTime: runTime });

export const rulesOf = (retention: Retention | undefined): RetentionRules => retention ?? Retention.fromPartial({});

export function scheduleEvent(happened: string, name: string, data: RecordEvent["data"] = {}): RecordEvent {
  return { aggregate: "schedule", happened, data: { name, ...data } };
}
