import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { OperationState } from "#contracts/operation/v1/operation";
import { CheckpointType, VmState } from "#contracts/vm/v1/vm";
import { eventually } from "#libs/testing";
import {
  checkpointEvents,
  startControlPlane,
  type TestControlPlane,
  vmName,
  whatOf,
} from "./testing/test-control-plane.ts";

let plane: TestControlPlane;
beforeEach(async () => {
  plane = await startControlPlane();
});
afterEach(async () => {
  await plane[Symbol.asyncDispose]();
});

describe("applying a checkpoint", () => {
  test("leaves the VM off after production, moves now, and keeps later checkpoints as a branch", async () => {
    await plane.createVm(CheckpointType.PRODUCTION);
    const [a, b] = [await plane.createReady("a"), await plane.createReady("b")];
    const operation = await plane.finish(await plane.client.applyCheckpoint({ name: a.name }));
    expect(operation).toMatchObject({ state: OperationState.SUCCEEDED, output: { state: VmState.STOPPED } });
    expect((await plane.vms.get(vmName))?.body.state).toBe(VmState.STOPPED);
    const { head, checkpoints } = await plane.list();
    expect(head).toMatchObject({ parent: a.uid, generationId: plane.agent.generationId });
    expect(head?.generationId).not.toBe("");
    expect(checkpoints.map(({ parent }) => parent)).toEqual(["", a.uid]);
    expect(whatOf(await plane.events("rec.projects.*.vms.*.head"))).toEqual(["checkpoint.applied"]);
    expect(await plane.holder()).toBeUndefined();
    expect((await plane.finish(await plane.client.deleteCheckpoint({ name: a.name }))).error).toBeUndefined();
    expect(await plane.list()).toMatchObject({ head: { parent: "" }, checkpoints: [{ uid: b.uid, parent: "" }] });
  });

  test("fails clearly when the files are damaged, and frees the VM", async () => {
    await plane.createVm(CheckpointType.STANDARD);
    const a = await plane.createReady("a");
    plane.agent.layers.clear();
    const operation = await plane.finish(await plane.client.applyCheckpoint({ name: a.name }));
    expect(operation.error).toMatchObject({ reason: "CHECKPOINT_DAMAGED" });
    expect(await plane.holder()).toBeUndefined();
  });
});

describe("cancelling", () => {
  test("a create leaves nothing", async () => {
    await plane.createVm(CheckpointType.STANDARD);
    const ended = await plane.cancelAt("standard", () => plane.client.createCheckpoint({ parent: vmName }));
    expect(ended.state).toBe(OperationState.CANCELLED);
    expect(plane.agent.layers.size).toBe(0);
    expect((await plane.list()).checkpoints).toEqual([]);
    expect(await plane.holder()).toBeUndefined();
  });

  test("a removal that the host has done lets the records follow", async () => {
    await plane.createVm(CheckpointType.STANDARD);
    const { name } = await plane.createReady("a");
    const ended = await plane.cancelAt("remove", () => plane.client.deleteCheckpoint({ name }));
    expect(ended.state).toBe(OperationState.CANCELLED);
    expect(await plane.list()).toMatchObject({ checkpoints: [], head: { parent: "" } });
  });

  test("an apply that the host has done moves now", async () => {
    await plane.createVm(CheckpointType.STANDARD);
    const { name, uid } = await plane.createReady("a");
    await plane.createReady("b");
    await plane.cancelAt("apply", () => plane.client.applyCheckpoint({ name }));
    expect((await plane.list()).head).toMatchObject({ parent: uid, generationId: plane.agent.generationId });
  });
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

test("digests that come later are taken into the receipt", async () => {
  await plane.createVm(CheckpointType.STANDARD);
  const { uid, name, receipt } = await plane.createReady("a");
  const digests = { checkpointUid: uid, digests: { root: "sha256:aa", ram: "sha256:bb" } };
  await plane.observe({ uid: plane.agent.uid, workload: vmName, happened: { $case: "digests", value: digests } });
  await eventually(async () => {
    const renewed = (await plane.client.getCheckpoint({ name })).receipt;
    expect(renewed).toMatchObject({ disks: [{ digest: "sha256:aa" }], ram: { digest: "sha256:bb" } });
    expect(renewed?.digest).not.toBe(receipt?.digest);
    return true;
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
