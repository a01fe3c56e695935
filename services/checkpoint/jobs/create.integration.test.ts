import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CheckpointKind, CheckpointState, Consistency } from "#contracts/checkpoint/v1/checkpoint";
import { WorkloadState } from "#contracts/host/v1/agent";
import { OperationState } from "#contracts/operation/v1/operation";
import { CheckpointType } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
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

describe("creating a checkpoint", () => {
  test("production of a running VM carries its evidence, and tells when the guest was frozen", async () => {
    await plane.createVm(CheckpointType.PRODUCTION);
    const operation = await plane.create("before-upgrade");
    expect(operation).toMatchObject({ state: OperationState.SUCCEEDED, output: { displayName: "before-upgrade" } });
    const checkpoint = await plane.client.getCheckpoint({ name: `${vmName}/checkpoints/before-upgrade` });
    expect(checkpoint).toMatchObject({
      kind: CheckpointKind.PRODUCTION,
      consistency: Consistency.APPLICATION,
      state: CheckpointState.READY,
      fellBack: false,
      reason: "",
      sizeBytes: 4096,
      receipt: { version: 1, freeze: { count: 2 }, verification: { result: "clean" }, disks: [{ digest: "pending" }] },
    });
    const { head } = await plane.list();
    expect(head).toMatchObject({ parent: checkpoint.uid });
    const events = await plane.events(checkpointEvents);
    expect(whatOf(events)).toEqual(["vm.frozen", "vm.thawed", "checkpoint.created"]);
    expect(events[0]?.time).toBe("2026-03-01T09:05:00.100Z");
    expect(await plane.holder()).toBeUndefined();
  });

  test("production falls back to standard when the agent is absent, and says so", async () => {
    await plane.createVm(CheckpointType.PRODUCTION);
    plane.agent.refuse = { reason: "agent.absent", detail: "no answer in 3 s" };
    expect(await plane.createReady("a")).toMatchObject({
      kind: CheckpointKind.STANDARD,
      consistency: Consistency.SAVED_STATE,
      requestedType: CheckpointType.PRODUCTION,
      fellBack: true,
      reason: "agent.absent",
      receipt: { fellBack: true, detail: "no answer in 3 s", pauseMs: 12, freeze: null },
    });
    expect(whatOf(await plane.events(checkpointEvents))).toEqual(["checkpoint.created", "checkpoint.fell_back"]);
  });

  test("production whose image is not clean is discarded before standard is taken", async () => {
    await plane.createVm(CheckpointType.PRODUCTION);
    plane.agent.unclean = { reason: "verify.unclean", detail: "journal to replay" };
    expect(await plane.createReady("a")).toMatchObject({ kind: CheckpointKind.STANDARD, reason: "verify.unclean" });
    expect(plane.agent.effects).toEqual(["production", "verify", "discard-unproven", "standard"]);
  });

  test("production-only that is refused leaves nothing and says what to do", async () => {
    await plane.createVm(CheckpointType.PRODUCTION_ONLY);
    plane.agent.refuse = { reason: "hook.failed", detail: "redis answered LOADING" };
    const operation = await plane.create("a");
    expect(operation).toMatchObject({
      state: OperationState.FAILED,
      error: { reason: "PRODUCTION_NOT_REACHED", message: expect.stringContaining("hook.failed") },
    });
    expect(operation.error?.help).toContain("hook or writer");
    expect(plane.agent.layers.size).toBe(0);
    expect((await plane.list()).checkpoints).toEqual([]);
    expect(await plane.holder()).toBeUndefined();
    const failed = (await plane.events("rec.projects.*.vms.*")).find(({ what }) => what === "checkpoint.failed");
    expect(failed?.data).toMatchObject({ displayName: "a", reason: "hook.failed", error: "PRODUCTION_NOT_REACHED" });
  });

  test("production-only whose image is not clean is discarded", async () => {
    await plane.createVm(CheckpointType.PRODUCTION_ONLY);
    plane.agent.unclean = { reason: "verify.unclean", detail: "journal to replay" };
    expect((await plane.create("a")).error).toMatchObject({ reason: "PRODUCTION_NOT_REACHED" });
    expect(plane.agent.layers.size).toBe(0);
    // The guest did stand still, though nothing came of it.
    const seen = whatOf(await plane.events("rec.projects.*.vms.*"));
    expect(seen).toEqual(["vm.frozen", "vm.thawed", "checkpoint.failed"]);
  });

  test("standard is taken at once", async () => {
    await plane.createVm(CheckpointType.STANDARD);
    expect(await plane.createReady("a")).toMatchObject({ kind: CheckpointKind.STANDARD, fellBack: false, reason: "" });
    expect(plane.agent.effects).toEqual(["standard"]);
  });

  test("a VM that is off is taken offline, whatever the type", async () => {
    plane.agent.state = WorkloadState.STOPPED;
    await plane.createVm(CheckpointType.PRODUCTION_ONLY);
    expect(await plane.createReady("a")).toMatchObject({
      kind: CheckpointKind.PRODUCTION,
      consistency: Consistency.OFFLINE,
    });
  });

  test("a fallback that fails too says why it was needed, and leaves nothing", async () => {
    await plane.createVm(CheckpointType.PRODUCTION);
    plane.agent.refuse = { reason: "agent.absent", detail: "" };
    plane.agent.failStandard = new StillpointError("STANDARD_FAILED", "RAM is shared");
    const { error } = await plane.create("a");
    expect(error).toMatchObject({ reason: "STANDARD_FAILED", message: expect.stringMatching(/RAM.*agent\.absent/) });
    expect(plane.agent.layers.size).toBe(0);
  });

  test("is refused at once for what can be seen at once", async () => {
    await plane.createVm(CheckpointType.DISABLED);
    const ask = (fields: object) => plane.client.createCheckpoint({ parent: vmName, ...fields });
    await expect(ask({})).rejects.toMatchObject({ reason: "CHECKPOINT_DISABLED" });
    await expect(ask({ type: CheckpointType.DISABLED })).rejects.toMatchObject({ reason: "ARGUMENT_INVALID" });
    await expect(ask({ displayName: "x".repeat(100) })).rejects.toMatchObject({ reason: "NAME_INVALID" });
    await expect(ask({ parent: "projects/default/vms/none" })).rejects.toMatchObject({ reason: "VM_NOT_FOUND" });
    await plane.vms.modify(vmName, ({ body }) => ({
      body: { ...body, spec: { ...body.spec, checkpointType: CheckpointType.PRODUCTION_ONLY } as never },
    }));
    await expect(ask({ type: CheckpointType.STANDARD })).rejects.toMatchObject({ reason: "CHECKPOINT_TYPE_REFUSED" });
    expect(await plane.operations.list()).toEqual([]);
  });

  test("a name can be used once; a repeated request is the same operation", async () => {
    await plane.createVm(CheckpointType.STANDARD);
    const request = { parent: vmName, displayName: "a", requestId: "r1" };
    const first = await plane.client.createCheckpoint(request);
    await plane.finish(first);
    expect((await plane.client.createCheckpoint(request)).name).toBe(first.name);
    const again = plane.client.createCheckpoint({ parent: vmName, displayName: "a" });
    await expect(again).rejects.toMatchObject({ reason: "CHECKPOINT_NAME_TAKEN" });
  });
});

test("a service that ends between steps is succeeded by another, and the checkpoint is taken once", async () => {
  await plane.createVm(CheckpointType.PRODUCTION);
  const reached = Promise.withResolvers<void>();
  plane.agent.beforeAnswer = async (step) => {
    if (step !== "production") return;
    plane.agent.beforeAnswer = async () => undefined;
    reached.resolve();
    await plane.closeService();
  };
  const operation = await plane.client.createCheckpoint({ parent: vmName, displayName: "a" });
  await reached.promise;
  const successor = await plane.start();
  expect(await plane.finish(operation)).toMatchObject({ state: OperationState.SUCCEEDED });
  expect(plane.agent.effects).toEqual(["production", "verify"]);
  const { checkpoints } = await successor.checkpoints.listCheckpoints({ parent: vmName });
  expect(checkpoints.map(({ displayName }) => displayName)).toEqual(["a"]);
});
