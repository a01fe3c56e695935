import { expect, test } from "vitest";
import type { CreateScheduleRequest, Schedule, UpdateScheduleRequest } from "#contracts/checkpoint/v1/schedule";
import { StillpointError } from "#libs/errors";
import { fakeCluster } from "../testing/fake-cluster.ts";
import { succeeded } from "../testing/operations.ts";

const name = "projects/default/schedules/nightly";
const upcoming = ["2026-03-28T02:00:00Z", "2026-03-29T01:00:00Z"].map((time) => new Date(time));

test("schedule create asks for what was given, and prints the next runs in the schedule's time zone", async () => {
  const asked: CreateScheduleRequest[] = [];
  await using cluster = await fakeCluster({
    schedules: {
      createSchedule: async (request) => {
        asked.push(request);
        return { ...request.schedule, upcoming };
      },
    },
  });
  const given = ["--cron", "0 3 * * *", "--time-zone", "Europe/Berlin", "--jitter", "10m", "--type", "standard"];
  const keep = ["--keep-last", "3", "--keep-daily", "7", "--exclude", "disk1"];
  const { code, out } = await cluster.run(["schedule", "create", "nightly", "--vm", "web-1", ...given, ...keep]);
  expect({ code, out }).toEqual({
    code: 0,
    out: [
      ...["Schedule nightly is made.", "It runs next at:"],
      ...["  2026-03-28 03:00:00 Europe/Berlin", "  2026-03-29 03:00:00 Europe/Berlin", ""],
    ].join("\n"),
  });
  expect(asked).toMatchObject([
    {
      parent: "projects/default",
      scheduleId: "nightly",
      schedule: {
        ...{ vm: "projects/default/vms/web-1", labelSelector: {}, cron: "0 3 * * *", timeZone: "Europe/Berlin" },
        ...{ jitter: { seconds: 600 }, checkpointType: "CHECKPOINT_TYPE_STANDARD", excludeDisks: ["disk1"] },
        ...{ skipMissed: false, retention: { keepLast: 3, keepHourly: 0, keepDaily: 7 } },
      },
    },
  ]);
});

test("schedule set changes what is given, and a rule of retention beside the others", async () => {
  const asked: UpdateScheduleRequest[] = [];
  const before = { name, cron: "0 3 * * *", retention: { keepLast: 3, keepDaily: 7 } };
  await using cluster = await fakeCluster({
    schedules: {
      getSchedule: async () => before,
      updateSchedule: async (request) => {
        asked.push(request);
        return { ...before, ...request.schedule };
      },
    },
  });
  const set = (...args: string[]) => cluster.run(["schedule", "set", "nightly", ...args]);
  await set("--keep-daily", "14", "--no-skip-missed", "--time-zone", "UTC");
  await set("--label", "tier=web");
  await cluster.run(["schedule", "pause", "nightly"]);
  expect(asked).toMatchObject([
    {
      schedule: { retention: { keepLast: 3, keepDaily: 14 }, skipMissed: false, timeZone: "UTC" },
      updateMask: ["time_zone", "skip_missed", "retention"],
    },
    { schedule: { vm: "", labelSelector: { tier: "web" } }, updateMask: ["vm", "label_selector"] },
    { schedule: { paused: true }, updateMask: ["paused"] },
  ]);
  expect(await set()).toMatchObject({ code: 2, err: expect.stringContaining("nothing is to be changed") });
});

test("schedule run tells what came of each VM, and ends with 1 when it failed on one", async () => {
  const results = [
    { vm: "projects/default/vms/a", checkpoint: "projects/default/vms/a/checkpoints/ckpt-1", deleted: ["x"] },
    { vm: "projects/default/vms/b", failures: [{ action: "take", reason: "VM_STATE", message: "b is creating" }] },
  ];
  await using cluster = await fakeCluster({
    schedules: { runSchedule: async () => ({ ...succeeded, output: { results } }) },
  });
  expect(await cluster.run(["schedule", "run", "nightly"])).toMatchObject({
    code: 1,
    out: [
      "a: checkpoint ckpt-1 taken, 1 old one deleted",
      "b: nothing done",
      "b: take failed: VM_STATE: b is creating\n",
    ].join("\n"),
  });
});

test("schedule list and preview are tables", async () => {
  const schedule: Partial<Schedule> = {
    ...{ name, vm: "", labelSelector: { tier: "web" }, cron: "0 3 * * *", missedRuns: 2 },
    ...{ nextRunTime: upcoming[0], retention: { keepLast: 3, keepHourly: 0, keepDaily: 7 } as never },
  };
  const decision = { checkpoint: "c", displayName: "first", delete: true };
  const decisions = [
    { ...decision, displayName: "second", delete: false, keptBy: ["keep-last", "protected"] },
    decision,
  ];
  await using cluster = await fakeCluster({
    schedules: {
      listSchedules: async () => ({ schedules: [schedule] }),
      previewRetention: async ({ retention }) => ({
        vms: [{ vm: "projects/default/vms/a", decisions: decisions.slice(retention?.keepLast ?? 0) }],
      }),
    },
  });
  const list = await cluster.run(["schedule", "list"]);
  expect(list.out).toMatch(/^nightly +tier=web +0 3 \* \* \* +2026-03-28 02:00:00 UTC +2 +3 last, 7 daily$/m);
  const preview = await cluster.run(["schedule", "preview", "nightly"]);
  expect(preview.out).toMatch(/^a +second +keep +keep-last, protected\na +first +delete$/m);
  expect((await cluster.run(["schedule", "preview", "nightly", "--keep-last", "1"])).out).not.toContain("second");
});

test("a wrong cron expression is told with what the server says", async () => {
  await using cluster = await fakeCluster({
    schedules: {
      createSchedule: async () => {
        throw new StillpointError("ARGUMENT_INVALID", 'wrong at character 3: field 2 (hour) is "25"', {
          help: "0 to 23",
        });
      },
    },
  });
  const wrong = ["schedule", "create", "nightly", "--vm", "a", "--cron", "0 25 * * *"];
  expect(await cluster.run(wrong)).toMatchObject({
    code: 1,
    err: 'Error ARGUMENT_INVALID: wrong at character 3: field 2 (hour) is "25"\n0 to 23\n',
  });
  expect((await cluster.run(["schedule", "create", "nightly", "--vm", "a"])).err).toContain("needs --cron");
});
