import { expect, test } from "vitest";
import { Schedule, ScheduleAction } from "#contracts/checkpoint/v1/schedule";
import { CheckpointType } from "#contracts/vm/v1/vm";
import { checkSchedule } from "./check-schedule.ts";

type Fields = Parameters<typeof Schedule.fromPartial>[0];

const vm = "projects/default/vms/web-1";
const good: Fields = { name: "projects/default/schedules/daily", uid: "sched-1", cron: "0 3 * * *", vm };
const check = (fields: Fields) => () => checkSchedule(Schedule.fromPartial({ ...good, ...fields }), new Date(0));

test.each<[Fields, string]>([
  [{ cron: "0 25 * * *" }, 'wrong at character 3: field 2 (hour) is "25"'],
  [{ timeZone: "Europe/Nowhere" }, '"Europe/Nowhere" is no time zone'],
  [{ jitter: { seconds: 60 }, cron: "* * * * *" }, "not shorter than the time between two runs"],
  [{ jitter: { seconds: -1 } }, "not between 0 and 24 hours"],
  [{ jitter: { seconds: 86_401 }, cron: "0 0 1 * *" }, "not between 0 and 24 hours"],
  [{ labelSelector: { a: "b" } }, "for one workload or for those with some labels"],
  [{ vm: "" }, "for one workload or for those with some labels"],
  [{ vm: "projects/other/vms/a" }, "is in another project"],
  [{ retention: { keepLast: -1 } }, "not between 0 and 1000"],
  [{ retention: { keepYearly: 1001 } }, "not between 0 and 1000"],
  [{ checkpointType: CheckpointType.DISABLED }, "disabled"],
  [{ action: ScheduleAction.DRILL, push: "backups/web" }, "no checkpoint that could be pushed"],
])("%j is refused and told why", (fields, message) => {
  expect(check(fields)).toThrowError(
    expect.objectContaining({ reason: "ARGUMENT_INVALID", message: expect.stringContaining(message) }),
  );
});

test.each<Fields>([
  { jitter: { seconds: 59 }, cron: "* * * * *" },
  { vm: "", labelSelector: { tier: "web" }, timeZone: "Europe/Berlin" },
  { retention: { keepLast: 1000 }, push: "backups/web" },
  { action: ScheduleAction.DRILL, checkpointType: CheckpointType.STANDARD },
])("%j is right", (fields) => expect(check(fields)).not.toThrow());
