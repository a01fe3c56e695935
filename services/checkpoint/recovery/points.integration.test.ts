import { afterEach, beforeEach, expect, test } from "vitest";
import { RecoveryState } from "#contracts/checkpoint/v1/checkpoint";
import { systemClock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { eventually } from "#libs/testing";
import { startControlPlane, type TestControlPlane, vmName, whatOf } from "../testing/test-control-plane.ts";

const minuteMs = 60_000;
let now = Date.parse("2030-03-01T00:00:00Z");
let plane: TestControlPlane;
beforeEach(async () => {
  plane = await startControlPlane({ OPERATION_TTL_MS: "1000" }, { ...systemClock, now: () => new Date(now) });
});
afterEach(async () => {
  await plane[Symbol.asyncDispose]();
});

/** Until the point that is due now was tried. Which replica does it, and after how many refusals, is not asked. */
const tried = () =>
  eventually(
    async () => {
      const state = await plane.recoveryStates.get(`${vmName}/recovery`);
      return state?.body.attemptTime?.getTime() === now && state.operation === undefined;
    },
    { deadlineMs: 20_000 },
  );
const events = async () => whatOf(await plane.events("rec.projects.*.vms.*.recovery"));

test("points are taken as they come due; a failure is told once, an old point is told late", async () => {
  await plane.start();
  await plane.createRecovered();
  await tried();
  const [first] = (await plane.list()).checkpoints;
  expect(first).toMatchObject({ schedule: `${vmName}/recovery` });
  expect(first?.pushed[0]).toMatchObject({ reference: `recovery/default/web-1:${first?.uid}` });
  plane.agent.failPush = new StillpointError("SPACE_INSUFFICIENT", "the registry is full");
  now += 15 * minuteMs;
  await tried();
  now += minuteMs;
  await tried();
  expect(await events()).toEqual(["vm.recovery_point_taken", "vm.recovery_point_failed"]);
  now += 15 * minuteMs;
  await tried();
  await eventually(async () => (await events()).includes("vm.recovery_point_late"));
  plane.agent.failPush = undefined;
  now += minuteMs;
  await tried();
  const all = await plane.events("rec.projects.*.vms.*.recovery");
  expect(whatOf(all)).toEqual(["taken", "failed", "late", "taken"].map((happened) => `vm.recovery_point_${happened}`));
  expect(all[1]?.data).toMatchObject({ workload: vmName, reason: "SPACE_INSUFFICIENT" });
  const { checkpoints } = await plane.list();
  expect(checkpoints).toHaveLength(2);
  const stored = await plane.recoveryStates.get(`${vmName}/recovery`);
  const newest = checkpoints.at(-1);
  expect(RecoveryState.toJSON(stored?.body ?? RecoveryState.fromPartial({}))).toMatchObject({
    kept: [`recovery/default/web-1@sha256:${first?.uid}`, `recovery/default/web-1@sha256:${newest?.uid}`],
    point: { checkpoint: newest?.name, reference: `recovery/default/web-1@sha256:${newest?.uid}` },
  });
});
