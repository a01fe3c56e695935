import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CheckpointState } from "#contracts/checkpoint/v1/checkpoint";
import { CheckpointType } from "#contracts/vm/v1/vm";
import { eventually } from "#libs/testing";
import {
  checkpointEvents,
  startControlPlane,
  type TestControlPlane,
  vmName,
  whatOf,
} from "../testing/test-control-plane.ts";

let plane: TestControlPlane;
beforeEach(async () => {
  plane = await startControlPlane();
});
afterEach(async () => {
  await plane[Symbol.asyncDispose]();
});

describe("deleting a checkpoint", () => {
  test("joins the ends of the chain", async () => {
    await plane.createVm(CheckpointType.STANDARD);
    const [a, b, c] = [await plane.createReady("a"), await plane.createReady("b"), await plane.createReady("c")];
    await plane.finish(await plane.client.deleteCheckpoint({ name: `${vmName}/checkpoints/b` }));
    const { checkpoints, head } = await plane.list();
    expect(checkpoints.map(({ uid, parent }) => [uid, parent])).toEqual([
      [a.uid, ""],
      [c.uid, a.uid],
    ]);
    expect(head?.parent).toBe(c.uid);
    await plane.finish(await plane.client.deleteCheckpoint({ name: c.name }));
    expect((await plane.list()).head?.parent).toBe(a.uid);
    await expect(plane.client.getCheckpoint({ name: b.name })).rejects.toMatchObject({
      reason: "CHECKPOINT_NOT_FOUND",
    });
    expect(plane.agent.layers.size).toBe(1);
  });
});

describe("deleting in any position", () => {
  /** a ─ b ─ c, and from a again d ─ now. */
  async function branched() {
    await plane.createVm(CheckpointType.STANDARD);
    const [a, b, c] = [await plane.createReady("a"), await plane.createReady("b"), await plane.createReady("c")];
    await plane.succeed(plane.client.applyCheckpoint({ name: a.name }));
    return { a, b, c, d: await plane.createReady("d") };
  }
  const shape = async () => {
    const { checkpoints, head } = await plane.list();
    const nameOf = (uid = "") => checkpoints.find((it) => it.uid === uid)?.displayName ?? "";
    const lines = checkpoints.map(({ displayName, parent }) => `${displayName}<${nameOf(parent)}`);
    return [...lines, `now<${nameOf(head?.parent)}`].join(" ");
  };

  test("one that two lines stand on: both stand on its parent", async () => {
    const { a } = await branched();
    await plane.succeed(plane.client.deleteCheckpoint({ name: a.name }));
    expect(await shape()).toBe("b< c<b d< now<d");
    expect(plane.agent.layers.has(a.uid)).toBe(false);
  });

  test("a subtree goes whole, and now goes on from what stays", async () => {
    const { a, b, c, d } = await branched();
    const { output } = await plane.succeed(plane.client.deleteCheckpoint({ name: b.name, subtree: true }));
    expect(output).toMatchObject({ checkpoint: b.name, deleted: [b.uid, c.uid] });
    expect(await shape()).toBe("a< d<a now<d");
    await plane.succeed(plane.client.deleteCheckpoint({ name: a.name, subtree: true }));
    expect(await shape()).toBe("now<");
    expect(plane.agent.layers.size).toBe(0);
    const deleted = (await plane.events(checkpointEvents)).filter(({ what }) => what === "checkpoint.deleted");
    expect(deleted.map(({ data }) => data.name)).toEqual([b.name, c.name, a.name, d.name]);
  });

  test("a subtree with a protected checkpoint is refused whole", async () => {
    const { a, c } = await branched();
    await plane.client.protectCheckpoint({ name: c.name, protected: true });
    const refused = plane.client.deleteCheckpoint({ name: a.name, subtree: true });
    await expect(refused).rejects.toMatchObject({
      reason: "CHECKPOINT_PROTECTED",
      message: expect.stringContaining(c.uid),
    });
    expect(await shape()).toBe("a< b<a c<b d<a now<d");
  });

  test("one that another operation holds is busy, and what was marked is as it was", async () => {
    const { a, c } = await branched();
    await plane.operations.accept({
      kind: "probe.none",
      target: c.name,
      input: {},
      principal: "p",
      project: "default",
    });
    const { error } = await plane.finish(await plane.client.deleteCheckpoint({ name: a.name, subtree: true }));
    expect(error).toMatchObject({ reason: "TARGET_BUSY" });
    expect((await plane.list()).checkpoints.map(({ state }) => state)).toEqual(Array(4).fill(CheckpointState.READY));
    expect(await shape()).toBe("a< b<a c<b d<a now<d");
    expect(await plane.holder()).toBeUndefined();
  });

  test("a repeated request is given the first operation, also when checkpoint and VM are gone", async () => {
    const { a } = await branched();
    const request = { name: a.name, requestId: "r1" };
    const first = await plane.client.deleteCheckpoint(request);
    await plane.finish(first);
    expect(await plane.client.deleteCheckpoint(request)).toMatchObject({ name: first.name, done: true });
    const other = { ...request, subtree: true };
    await expect(plane.client.deleteCheckpoint(other)).rejects.toMatchObject({ reason: "REQUEST_ID_REUSED" });
    const unsaid = plane.client.deleteCheckpoint({ name: a.name });
    await expect(unsaid).rejects.toMatchObject({ reason: "CHECKPOINT_NOT_FOUND" });
    const vm = await plane.vms.get(vmName);
    if (vm === undefined) throw new Error("there is no VM");
    await plane.vms.remove(vm);
    expect(await plane.client.deleteCheckpoint(request)).toMatchObject({ name: first.name });
  });
});

test("checkpoints go with their VM, and a new VM of that name inherits none", async () => {
  await plane.createVm(CheckpointType.STANDARD);
  const { name } = await plane.createReady("a");
  const vm = await plane.vms.get(vmName);
  if (vm === undefined) throw new Error("there is no VM");
  await plane.vms.remove(vm);
  await eventually(async () => (await plane.checkpoints.get(name)) === undefined);
  await eventually(async () => (await plane.heads.get(`${vmName}/head`)) === undefined);
  expect(whatOf(await plane.events(checkpointEvents))).toEqual(["checkpoint.created", "checkpoint.deleted"]);
});
