import { afterEach, beforeEach, expect, test } from "vitest";
import { CheckpointType } from "#contracts/vm/v1/vm";
import { startControlPlane, type TestControlPlane, vmName } from "../testing/test-control-plane.ts";

const parent = "projects/default";
const group = `${parent}/groups/shop`;
const name = `${group}/checkpoints/a`;

let plane: TestControlPlane;
beforeEach(async () => {
  plane = await startControlPlane();
  await plane.createVm(CheckpointType.STANDARD);
  const checkpointType = CheckpointType.STANDARD;
  await plane.groups.createGroup({ parent, groupId: "shop", members: [vmName], checkpointType });
  await plane.succeed(plane.groups.createGroupCheckpoint({ parent: group, displayName: "a" }));
});
afterEach(async () => {
  await plane[Symbol.asyncDispose]();
});

test("a deletion that is asked for again when the checkpoint is gone is given its first operation", async () => {
  const request = { name, requestId: "once" };
  const first = await plane.succeed(plane.groups.deleteGroupCheckpoint(request));
  expect(await plane.groups.deleteGroupCheckpoint(request)).toMatchObject({ name: first.name, done: true });
  await expect(plane.groups.deleteGroupCheckpoint({ name })).rejects.toMatchObject({ reason: "CHECKPOINT_NOT_FOUND" });
});

test("a checkpoint that a member cannot be brought back to is applied to none, and that is told", async () => {
  plane.agent.layers.clear();
  const { error } = await plane.finish(await plane.groups.applyGroupCheckpoint({ name }));
  expect(error).toMatchObject({ reason: "CHECKPOINT_DAMAGED" });
  expect(plane.agent.effects).not.toContain("apply");
  expect((await plane.events("rec.projects.*.groups.*")).at(-1)).toMatchObject({
    what: "group.checkpoint_apply_failed",
    data: { error: "CHECKPOINT_DAMAGED", changed: [], unchanged: [vmName] },
  });
  expect(await plane.holder()).toBeUndefined();
});
