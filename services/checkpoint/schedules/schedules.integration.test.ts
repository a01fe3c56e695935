import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Schedule, ScheduleAction, ScheduleRun } from "#contracts/checkpoint/v1/schedule";
import { OperationState } from "#contracts/operation/v1/operation";
import { CheckpointType, Vm, VmState } from "#contracts/vm/v1/vm";
import { systemClock } from "#libs/clock";
import { eventually } from "#libs/testing";
import { startControlPlane, type TestControlPlane, vmName, whatOf } from "../testing/test-control-plane.ts";

const name = "projects/default/schedules/daily";
const start = Date.parse("2030-03-01T00:00:00Z");
const hourMs = 60 * 60_000;
const dayMs = 24 * hourMs;

/** What time it is to every replica; it stands still unless it is moved. */
let now: number;
let plane: TestControlPlane;
beforeEach(async () => {
  now = start;
  const clock = { ...systemClock, now: () => new Date(now) };
  plane = await startControlPlane({ OPERATION_TTL_MS: "1000" }, clock);
  await plane.createVm(CheckpointType.PRODUCTION);
});
afterEach(async () => {
  await plane[Symbol.asyncDispose]();
});

type Fields = Parameters<typeof Schedule.fromPartial>[0];

const create = (schedule: Fields = {}) =>
  plane.schedules.createSchedule({
    parent: "projects/default",
    scheduleId: "daily",
    schedule: { cron: "0 3 * * *", vm: vmName, ...schedule },
  });
const runNow = async () => plane.finish(await plane.schedules.runSchedule({ name }));
const get = () => plane.schedules.getSchedule({ name });
/** Moves the time on, and waits until the run that comes then has ended. */
async function runAt(time: number) {
  now = time;
  return eventually(
    async () => {
      const { lastRun, operation } = await get();
      return operation === "" && (lastRun?.endTime?.getTime() ?? 0) >= time && lastRun;
    },
    { deadlineMs: 20_000 },
  );
}
const runs = async () => (await plane.operations.list()).filter(({ kind }) => kind === "schedule.run");
const events = async () =>
  (await plane.events("rec.projects.*.schedules.*")).filter(({ what }) => what.startsWith("schedule."));
const names = async () => (await plane.list()).checkpoints.map(({ displayName }) => displayName);

describe("runs that are due", () => {
  test("begin once each, however many replicas there are", async () => {
    await plane.start();
    await plane.start();
    const { nextRunTime, upcoming } = await create();
    expect(nextRunTime?.toISOString()).toBe("2030-03-01T03:00:00.000Z");
    expect(upcoming.map((time) => time.toISOString().slice(0, 10))).toEqual(["2030-03-01", "2030-03-02", "2030-03-03"]);
    for (let day = 0; day < 4; day++) {
      const run = await runAt(start + day * dayMs + 3 * hourMs);
      expect(run).toMatchObject({ dueTime: new Date(start + day * dayMs + 3 * hourMs), results: [{ vm: vmName }] });
    }
    const { checkpoints } = await plane.list();
    expect(checkpoints.map(({ createTime, schedule }) => [createTime?.toISOString().slice(0, 13), schedule])).toEqual(
      ["2030-03-01T03", "2030-03-02T03", "2030-03-03T03", "2030-03-04T03"].map((time) => [time, name]),
    );
    expect((await runs()).map(({ state }) => state)).toEqual(Array(4).fill(OperationState.SUCCEEDED));
    expect(whatOf(await events())).toEqual(["schedule.created", ...Array(4).fill("schedule.ran")]);
    expect((await plane.operations.list())[0]?.principal).toBe("schedule/daily");
  });

  test("are taken over from a replica that dies while the checkpoint is taken, which is taken once", async () => {
    await create();
    const reached = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    plane.agent.beforeAnswer = async (step) => {
      if (step !== "production") return;
      reached.resolve();
      await goOn.promise;
    };
    now = start + 3 * hourMs;
    await reached.promise;
    await plane.closeService();
    goOn.resolve();
    expect(await plane.holder()).toBeDefined();
    const { schedules, checkpoints } = await plane.start();
    const { lastRun } = await vi.waitFor(
      async () => {
        const schedule = await schedules.getSchedule({ name });
        expect(schedule).toMatchObject({ operation: "", lastRun: { results: [{ failures: [] }] } });
        return schedule;
      },
      { timeout: 20_000 },
    );
    const taken = (await checkpoints.listCheckpoints({ parent: vmName })).checkpoints;
    expect(taken.map((checkpoint) => checkpoint.name)).toEqual([lastRun?.results[0]?.checkpoint]);
    expect(plane.agent.effects).toEqual(["production", "verify"]);
    expect(await runs()).toHaveLength(1);
  });

  test("that were missed are told once with their number, and made up for by one", async () => {
    await create();
    await plane.closeService();
    now = start + 3 * dayMs + 12 * hourMs;
    const { schedules, checkpoints } = await plane.start();
    await vi.waitFor(async () => expect((await schedules.getSchedule({ name })).lastRun).toBeDefined(), 20_000);
    const missed = (await events()).filter(({ what }) => what === "schedule.missed");
    const [first, last] = ["2030-03-01T03:00:00.000Z", "2030-03-04T03:00:00.000Z"];
    expect(missed.map(({ data }) => data)).toEqual([
      { name, count: 4, first, last, reason: "service.down", catchUp: true },
    ]);
    expect((await checkpoints.listCheckpoints({ parent: vmName })).checkpoints).toHaveLength(1);
    expect(await schedules.getSchedule({ name })).toMatchObject({
      missedRuns: 4,
      nextRunTime: new Date("2030-03-05T03:00:00Z"),
    });
  });

  test("that were missed are only told when that is asked for", async () => {
    await create({ skipMissed: true });
    await plane.closeService();
    now = start + 3 * dayMs + 12 * hourMs;
    const { schedules } = await plane.start();
    await vi.waitFor(async () => expect((await schedules.getSchedule({ name })).missedRuns).toBe(4), 20_000);
    expect(await runs()).toEqual([]);
    expect((await events()).at(-1)).toMatchObject({ what: "schedule.missed", data: { count: 4, catchUp: false } });
  });

  test("do not come while it is paused; when it goes on none of them was missed", async () => {
    await create();
    const set = (paused: boolean) =>
      plane.schedules.updateSchedule({ schedule: { name, paused }, updateMask: ["paused"] });
    expect(await set(true)).toMatchObject({ paused: true, nextRunTime: undefined, upcoming: [] });
    now = start + 2 * dayMs;
    expect(await set(false)).toMatchObject({ missedRuns: 0, nextRunTime: new Date("2030-03-03T03:00:00Z") });
    await runAt(start + 2 * dayMs + 3 * hourMs);
    expect(await names()).toHaveLength(1);
  });
});

describe("retention", () => {
  const runOn = (day: number) => runAt(start + day * dayMs + 3 * hourMs);

  test("deletes what no rule keeps, never what is protected or what others took, and tells it beforehand", async () => {
    await create({ retention: { keepLast: 2 } });
    await plane.createReady("by-hand");
    const first = (await runOn(0)).results[0]?.checkpoint ?? "";
    await plane.client.protectCheckpoint({ name: first, protected: true });
    const second = (await runOn(1)).results[0]?.checkpoint ?? "";
    await runOn(2);
    const preview = await plane.schedules.previewRetention({ name, retention: { keepLast: 1 } });
    expect(preview.vms[0]?.decisions.map(({ delete: goes, keptBy }) => [goes, ...keptBy])).toEqual([
      [false, "keep-last"],
      [true],
      [false, "protected"],
    ]);
    const run = await runOn(3);
    expect(run.results).toMatchObject([{ vm: vmName, deleted: [second], failures: [] }]);
    const left = (await plane.list()).checkpoints;
    expect(left).toHaveLength(4);
    expect(left.map((checkpoint) => checkpoint.name)).toContain(first);
    expect(left[0]?.displayName).toBe("by-hand");
    expect((await plane.schedules.previewRetention({ name })).vms[0]?.decisions.some((it) => it.delete)).toBe(false);
  });
});

describe("a run over several VMs", () => {
  const other = "projects/default/vms/web-2";
  beforeEach(async () => {
    await plane.vms.modify(vmName, ({ body }) => ({ body: { ...body, labels: { tier: "web" } } }));
    const spec = { checkpointType: CheckpointType.DISABLED };
    const fields = { spec, labels: { tier: "web", zone: "b" }, state: VmState.RUNNING, host: "hosts/n1" };
    const body = Vm.fromPartial({ name: other, uid: "vm-2", ...fields });
    await plane.vms.create(other, { uid: "vm-2", body });
  });

  test("tells which of them failed and why, and takes the others", async () => {
    await create({ vm: "", labelSelector: { tier: "web" } });
    const operation = await runNow();
    expect(operation.state).toBe(OperationState.SUCCEEDED);
    expect(ScheduleRun.fromJSON(operation.output).results).toMatchObject([
      { vm: vmName, failures: [] },
      { vm: other, checkpoint: "", failures: [{ action: "take", reason: "CHECKPOINT_DISABLED" }] },
    ]);
    expect(await names()).toHaveLength(1);
    const failed = (await events()).find(({ what }) => what === "schedule.run_failed");
    expect(failed?.data).toMatchObject({ vms: 2, failedVms: 1 });
    expect(await get()).toMatchObject({ lastRun: { results: [{ vm: vmName }, { vm: other }] }, operation: "" });
    // A run that was asked for leaves the next one where it was.
    expect((await get()).nextRunTime?.toISOString()).toBe("2030-03-01T03:00:00.000Z");
  });

  test("takes those only that carry every label", async () => {
    await create({ vm: "", labelSelector: { tier: "web", zone: "c" } });
    const { output } = await runNow();
    expect(ScheduleRun.fromJSON(output).results).toEqual([]);
    expect(await names()).toEqual([]);
  });
});

describe("a schedule", () => {
  test("belongs to who runs it: a person cannot take checkpoints in its name", async () => {
    await expect(plane.client.createCheckpoint({ parent: vmName, schedule: name })).rejects.toMatchObject({
      reason: "ARGUMENT_INVALID",
    });
  });

  test("is made once, listed, changed and deleted", async () => {
    await create({ jitter: { seconds: 600 } });
    await expect(create()).rejects.toMatchObject({ reason: "SCHEDULE_EXISTS" });
    expect((await plane.schedules.listSchedules({ parent: "projects/default" })).schedules).toMatchObject([{ name }]);
    const update = (schedule: Fields, ...updateMask: string[]) =>
      plane.schedules.updateSchedule({ schedule: { name, ...schedule }, updateMask });
    expect(await update({ cron: "0 4 * * *", jitter: undefined }, "cron", "jitter")).toMatchObject({
      ...{ cron: "0 4 * * *", jitter: undefined, vm: vmName },
      nextRunTime: new Date("2030-03-01T04:00:00Z"),
    });
    await expect(update({ cron: "x" }, "cron")).rejects.toMatchObject({ reason: "ARGUMENT_INVALID" });
    await expect(update({}, "uid")).rejects.toMatchObject({ message: 'update_mask names "uid"' });
    await plane.schedules.deleteSchedule({ name });
    await expect(get()).rejects.toMatchObject({ reason: "SCHEDULE_NOT_FOUND" });
    await expect(plane.schedules.runSchedule({ name })).rejects.toMatchObject({ reason: "SCHEDULE_NOT_FOUND" });
  });

  test("of drills takes nothing, and says so where there is nothing to try", async () => {
    await create({ action: ScheduleAction.DRILL });
    const { output } = await runNow();
    expect(output).toMatchObject({ results: [{ failures: [{ action: "drill", reason: "CHECKPOINT_NOT_FOUND" }] }] });
    expect(await names()).toEqual([]);
  });

  test("whose VM is gone says so", async () => {
    await create({ vm: "projects/default/vms/gone" });
    const { output } = await runNow();
    expect(output).toMatchObject({ results: [{ failures: [{ action: "take", reason: "VM_NOT_FOUND" }] }] });
  });
});
