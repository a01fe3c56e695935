import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CheckpointKind } from "#contracts/checkpoint/v1/checkpoint";
import { OperationState } from "#contracts/operation/v1/operation";
import { CheckpointType, VmState } from "#contracts/vm/v1/vm";
import { eventually } from "#libs/testing";
import { startControlPlane, type TestControlPlane, vmName, whatOf } from "../testing/test-control-plane.ts";

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
    await plane.succeed(plane.client.deleteCheckpoint({ name: a.name }));
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

describe("applying with a checkpoint first", () => {
  const first = { checkpointFirst: true, firstDisplayName: "before" };

  test("takes one of now by policy, and goes back then", async () => {
    await plane.createVm(CheckpointType.PRODUCTION);
    const [a, b] = [await plane.createReady("a"), await plane.createReady("b")];
    plane.agent.refuse = { reason: "agent.absent", detail: "no answer in 3 s" };
    const { output } = await plane.succeed(plane.client.applyCheckpoint({ name: a.name, ...first }));
    const before = await plane.client.getCheckpoint({ name: `${vmName}/checkpoints/before` });
    expect(before).toMatchObject({ parent: b.uid, kind: CheckpointKind.STANDARD, reason: "agent.absent" });
    expect(output).toMatchObject({ checkpoint: a.name, first: before.name });
    expect((await plane.list()).head).toMatchObject({ parent: a.uid, generationId: plane.agent.generationId });
    expect(plane.agent.effects.slice(-3)).toEqual(["production", "standard", "apply"]);
    const again = await plane.succeed(plane.client.applyCheckpoint({ name: before.name, checkpointFirst: true }));
    expect(again.output?.generationId).not.toBe(output?.generationId);
    expect((await plane.list()).checkpoints.at(-1)?.displayName).toMatch(/^web-1-20/);
  });

  test("applies nothing when the first cannot be taken, and tells both", async () => {
    await plane.createVm(CheckpointType.PRODUCTION_ONLY);
    const [a, b] = [await plane.createReady("a"), await plane.createReady("b")];
    plane.agent.refuse = { reason: "hook.failed", detail: "redis answered LOADING" };
    const { error } = await plane.finish(await plane.client.applyCheckpoint({ name: a.name, ...first }));
    expect(error).toMatchObject({ reason: "PRODUCTION_NOT_REACHED" });
    expect(plane.agent.effects).not.toContain("apply");
    expect(await plane.list()).toMatchObject({
      head: { parent: b.uid },
      checkpoints: [{ uid: a.uid }, { uid: b.uid }],
    });
    const told = (await plane.events("rec.projects.*.vms.*")).slice(-2);
    expect(told.map(({ what, data }) => [what, data.reason ?? data.error])).toEqual([
      ["checkpoint.failed", "hook.failed"],
      ["checkpoint.apply_failed", "PRODUCTION_NOT_REACHED"],
    ]);
    expect(await plane.holder()).toBeUndefined();
  });

  test("keeps the first when applying fails then", async () => {
    await plane.createVm(CheckpointType.STANDARD);
    const a = await plane.createReady("a");
    plane.agent.layers.clear();
    const { error } = await plane.finish(await plane.client.applyCheckpoint({ name: a.name, ...first }));
    expect(error).toMatchObject({ reason: "CHECKPOINT_DAMAGED" });
    const { checkpoints, head } = await plane.list();
    expect(checkpoints.map(({ displayName }) => displayName)).toEqual(["a", "before"]);
    expect(head?.parent).toBe(checkpoints[1]?.uid);
    expect([...plane.agent.layers.keys()]).toEqual([checkpoints[1]?.uid]);
  });

  test("cancelled while the first is taken leaves nothing; once it is taken, it stays", async () => {
    await plane.createVm(CheckpointType.STANDARD);
    const { name, uid } = await plane.createReady("a");
    const ask = () => plane.client.applyCheckpoint({ name, ...first });
    expect((await plane.cancelAt("standard", ask)).state).toBe(OperationState.CANCELLED);
    expect(await plane.list()).toMatchObject({ checkpoints: [{ uid }], head: { parent: uid } });
    await plane.cancelAt("apply", ask);
    const { checkpoints, head } = await plane.list();
    expect(checkpoints.map(({ displayName }) => displayName)).toEqual(["a", "before"]);
    expect(head?.parent).toBe(uid);
  });

  test("is refused at once where no checkpoint can be taken", async () => {
    await plane.createVm(CheckpointType.STANDARD);
    const { name } = await plane.createReady("a");
    const ask = (fields: object) => plane.client.applyCheckpoint({ name, ...first, ...fields });
    await expect(ask({ firstDisplayName: "a" })).rejects.toMatchObject({ reason: "CHECKPOINT_NAME_TAKEN" });
    await expect(ask({ firstDisplayName: "n".repeat(100) })).rejects.toMatchObject({ reason: "NAME_INVALID" });
    await expect(ask({ checkpointFirst: false })).rejects.toMatchObject({ reason: "ARGUMENT_INVALID" });
    await plane.projects.setProjectCheckpointType({
      name: "projects/default",
      checkpointType: CheckpointType.DISABLED,
    });
    await plane.setType(CheckpointType.UNSPECIFIED);
    await expect(ask({})).rejects.toMatchObject({ reason: "CHECKPOINT_DISABLED" });
    await plane.succeed(plane.client.applyCheckpoint({ name }));
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
