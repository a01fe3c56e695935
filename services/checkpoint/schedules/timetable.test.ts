import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkCron } from "./check-cron.ts";
import { createTimetable, upcoming } from "./timetable.ts";

const table = (cron: string, { timeZone = "UTC", jitterMs = 0, uid = "sched-1" } = {}) =>
  createTimetable({ cron, timeZone, jitterMs, uid });
const runs = (cron: string, after: string, timeZone?: string) =>
  upcoming(table(cron, timeZone === undefined ? {} : { timeZone }), new Date(after), 3).map(({ dueTime }) =>
    dueTime.toISOString().slice(0, 16),
  );

describe("cron", () => {
  test.each([
    ["0 3 * * *", "2026-03-01T03:00:00Z", ["2026-03-02T03:00", "2026-03-03T03:00", "2026-03-04T03:00"]],
    ["*/20 * * * *", "2026-03-01T03:30:00Z", ["2026-03-01T03:40", "2026-03-01T04:00", "2026-03-01T04:20"]],
    ["0 0 29 2 *", "2026-03-01T00:00:00Z", ["2028-02-29T00:00", "2032-02-29T00:00", "2036-02-29T00:00"]],
    // Either the 13th or a Friday, as cron has it.
    ["0 0 13 * FRI", "2026-03-01T00:00:00Z", ["2026-03-06T00:00", "2026-03-13T00:00", "2026-03-20T00:00"]],
  ])("%s after %s", (cron, after, expected) => expect(runs(cron, after)).toEqual(expected));

  test("a time that is jumped over in spring comes right after the jump, once", () => {
    expect(runs("30 2 * * *", "2026-03-28T12:00:00Z", "Europe/Berlin")).toEqual([
      ...["2026-03-29T01:00", "2026-03-30T00:30", "2026-03-31T00:30"],
    ]);
  });

  test("a time that comes twice in autumn counts once; what recurs goes on through both hours", () => {
    expect(runs("30 2 * * *", "2026-10-24T12:00:00Z", "Europe/Berlin")).toEqual([
      ...["2026-10-25T00:30", "2026-10-26T01:30", "2026-10-27T01:30"],
    ]);
    expect(runs("0 * * * *", "2026-10-24T23:30:00Z", "Europe/Berlin")).toEqual([
      ...["2026-10-25T00:00", "2026-10-25T01:00", "2026-10-25T02:00"],
    ]);
  });
});

test("the newest run up to a time is the one after which the next comes later", () => {
  const zones = fc.constantFrom("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe");
  const crons = fc.constantFrom("*/7 * * * *", "30 2 * * *", "0 4 * * MON-FRI", "15 1,13 1 * *");
  const times = fc.integer({ min: Date.parse("2026-01-01"), max: Date.parse("2026-12-31") });
  fc.assert(
    fc.property(crons, zones, times, fc.nat(4 * 60_000 - 1), (cron, timeZone, time, jitterMs) => {
      const timetable = table(cron, { timeZone, jitterMs });
      const now = new Date(time);
      const newest = timetable.newest(now);
      expect(newest?.runTime.getTime()).toBeLessThanOrEqual(time);
      expect(timetable.next(newest?.dueTime ?? now).runTime.getTime()).toBeGreaterThan(time);
    }),
  );
});

test("jitter is the same for the same run, differs between schedules and runs, and stays below its bound", () => {
  const jitterMs = 10 * 60_000;
  const jitters = (uid: string) =>
    upcoming(table("0 3 * * *", { jitterMs, uid }), new Date("2026-03-01T00:00:00Z"), 50).map(
      ({ dueTime, runTime }) => runTime.getTime() - dueTime.getTime(),
    );
  expect(jitters("sched-1")).toEqual(jitters("sched-1"));
  expect(jitters("sched-1")).not.toEqual(jitters("sched-2"));
  expect(new Set(jitters("sched-1")).size).toBeGreaterThan(40);
  expect(Math.min(...jitters("sched-1"))).toBeGreaterThanOrEqual(0);
  expect(Math.max(...jitters("sched-1"))).toBeLessThan(jitterMs);
  expect(Math.max(...jitters("sched-1"))).toBeGreaterThan(jitterMs / 2);
});

describe("a wrong cron expression says what is wrong and where", () => {
  test.each([
    ["0 25 * * *", 3, 'field 2 (hour) is "25"'],
    ["60 3 * * *", 1, 'field 1 (minute) is "60"'],
    ["0  3 * 13 *", 8, 'field 4 (month) is "13"'],
    ["0 3 * * 8", 9, 'field 5 (day of week) is "8"'],
    ["0 3 32 * *", 5, 'field 3 (day of month) is "32"'],
    ["*/0 3 * * *", 1, 'field 1 (minute) is "*/0"'],
    ["5-1 3 * * *", 1, 'field 1 (minute) is "5-1"'],
    ["0 3 * * FRIDAY", 9, 'field 5 (day of week) is "FRIDAY"'],
    ["0 3 ? * *", 5, 'field 3 (day of month) is "?"'],
    ["0 3 * *", 8, "the field day of week is missing"],
    ["", 1, "the field minute is missing"],
    ["0 3 * * * *", 11, 'there is a sixth field, "*"'],
    ["@daily", 1, 'field 1 (minute) is "@daily"'],
  ])("%s", (cron, column, what) => {
    expect(() => checkCron(cron)).toThrowError(
      expect.objectContaining({
        reason: "ARGUMENT_INVALID",
        message: `the cron expression ${JSON.stringify(cron)} is wrong at character ${column}: ${what}`,
        metadata: { field: "schedule.cron", column: `${column}` },
      }),
    );
  });

  test("a day that never comes", () => expect(() => checkCron("0 3 31 2 *")).toThrow("names a day that never comes"));

  test.each(["0 3 * * *", "*/5 0-6,22 L * MON-FRI", " 0 3 1,15 JAN * "])("%s is right", (cron) => {
    expect(() => checkCron(cron)).not.toThrow();
  });
});
