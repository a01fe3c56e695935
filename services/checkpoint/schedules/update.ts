import { Schedule, type UpdateScheduleRequest } from "#contracts/checkpoint/v1/schedule";
import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { parseScheduleName, quote } from "#libs/names";
import type { RecordStore } from "#libs/records";
import { checkSchedule } from "./check-schedule.ts";
import { nextRun, type StoredSchedule, scheduleEvent, scheduleNotFound } from "./schedule-record.ts";

export interface UpdateDeps {
  readonly schedules: RecordStore<Schedule>;
  readonly clock: Clock;
}

/** By the names of the contract: what a person may change. */
const fields = {
  cron: "cron",
  time_zone: "timeZone",
  vm: "vm",
  label_selector: "labelSelector",
  checkpoint_type: "checkpointType",
  exclude_disks: "excludeDisks",
  jitter: "jitter",
  retention: "retention",
  action: "action",
  push: "push",
  paused: "paused",
  skip_missed: "skipMissed",
} as const satisfies Record<string, keyof Schedule>;

type FieldName = keyof typeof fields;

/** What decides when it runs. */
const timing: readonly FieldName[] = ["cron", "time_zone", "jitter", "paused"];

/** Changes the fields that the mask names. Fails as creation does, and then changes nothing. */
export async function updateSchedule(
  { schedules, clock }: UpdateDeps,
  { schedule, updateMask = [] }: UpdateScheduleRequest,
): Promise<StoredSchedule> {
  if (schedule === undefined) throw new StillpointError("ARGUMENT_INVALID", "schedule is missing");
  parseScheduleName(schedule.name);
  const mask = checkMask(updateMask);
  const stored = await schedules.modify(schedule.name, ({ body: before }) => {
    const now = clock.now();
    const after = { ...before, ...Object.fromEntries(mask.map((name) => [fields[name], schedule[fields[name]]])) };
    checkSchedule(after, now);
    const changed = mask.filter((name) => differs(before, after, fields[name]));
    if (changed.length === 0) return undefined;
    const isRetimed = changed.some((name) => timing.includes(name));
    const body = isRetimed ? { ...after, ...nextRun(after, now) } : after;
    return { body, events: [scheduleEvent("changed", schedule.name, { fields: changed })] };
  });
  if (stored === undefined) throw scheduleNotFound(schedule.name);
  return stored;
}

function checkMask(mask: readonly string[]): FieldName[] {
  const known = mask.filter((name): name is FieldName => Object.hasOwn(fields, name));
  const unknown = mask.find((name) => !Object.hasOwn(fields, name));
  if (unknown === undefined && known.length > 0) return known;
  const what = unknown === undefined ? "update_mask is empty" : `update_mask names ${quote(unknown)}`;
  throw new StillpointError("ARGUMENT_INVALID", what, { help: `Name some of ${Object.keys(fields).join(", ")}.` });
}

function differs(before: Schedule, after: Schedule, field: keyof Schedule): boolean {
  const only = (schedule: Schedule) =>
    JSON.stringify(Schedule.toJSON(Schedule.fromPartial({ [field]: schedule[field] })));
  return only(before) !== only(after);
}
