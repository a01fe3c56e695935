import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CheckpointKind, Consistency } from "#contracts/checkpoint/v1/checkpoint";
import { WorkloadState } from "#contracts/host/v1/agent";
import { CheckpointType } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import { checkpointEvents, startControlPlane, type TestControlPlane, vmName } from "../testing/test-control-plane.ts";

let plane: TestControlPlane;
beforeEach(async () => {
  plane = await startControlPlane();
});
afterEach(async () => {
  await plane[Symbol.asyncDispose]();
});

const disks = [
  { id: "disk1", sizeBytes: 512, excludeFromCheckpoints: false },
  { id: "disk2", sizeBytes: 512, excludeFromCheckpoints: true },
];
const ask = (fields: object = {}) => plane.client.createCheckpoint({ parent: vmName, displayName: "a", ...fields });

describe("leaving disks out", () => {
  test("the host and the receipt are told each, and why", async () => {
    await plane.createVm(CheckpointType.PRODUCTION, disks);
    await plane.succeed(ask({ excludeDisks: ["disk1", "disk2"] }));
    expect(plane.agent.excludedDisks).toEqual(["disk1", "disk2"]);
    expect(await plane.client.getCheckpoint({ name: `${vmName}/checkpoints/a` })).toMatchObject({
      kind: CheckpointKind.PRODUCTION,
      excludedDisks: ["disk1", "disk2"],
      receipt: {
        disks: [
          { id: "root", included: true },
          { id: "disk1", included: false, why: "it was asked to be left out" },
          { id: "disk2", included: false, why: "the VM's checkpoints leave it out" },
        ],
      },
    });
  });

  test("production that is not reached is refused, as there is nothing to fall back to", async () => {
    await plane.createVm(CheckpointType.PRODUCTION, disks);
    plane.agent.refuse = { reason: "agent.absent", detail: "no answer in 3 s" };
    const { error } = await plane.finish(await ask());
    expect(error).toMatchObject({
      reason: "PRODUCTION_NOT_REACHED",
      message: expect.stringMatching(/agent\.absent: no answer in 3 s; standard could not be had either/),
    });
    expect(plane.agent.layers.size).toBe(0);
  });

  test("standard is refused while the VM has RAM, and taken offline when it is off", async () => {
    await plane.createVm(CheckpointType.STANDARD, disks);
    const { error } = await plane.finish(await ask());
    expect(error).toMatchObject({ reason: "STANDARD_FAILED", message: expect.stringContaining("disk.excluded") });
    const told = await plane.events("rec.projects.*.vms.*");
    expect(told.at(-1)).toMatchObject({ what: "checkpoint.failed", data: { reason: "disk.excluded" } });
    plane.agent.state = WorkloadState.STOPPED;
    await plane.succeed(ask());
    expect(plane.agent.excludedDisks).toEqual(["disk2"]);
  });

  test("the root disk and disks that are not there are refused at once", async () => {
    await plane.createVm(CheckpointType.PRODUCTION, disks);
    for (const excludeDisks of [["root"], ["disk3"], [""]]) {
      await expect(ask({ excludeDisks })).rejects.toMatchObject({ reason: "ARGUMENT_INVALID" });
    }
  });
});

describe("an attempt at production that fails, and is not refused", () => {
  test.each([
    ["QEMU_FAILED", "tx.failed"],
    ["GUEST_AGENT_FAILED", "agent.unresponsive"],
    ["CAPABILITY_MISSING", "host.unsupported"],
    ["INTERNAL", "production.failed"],
  ] as const)("%s: discarded, then standard, because %s", async (reason, code) => {
    await plane.createVm(CheckpointType.PRODUCTION);
    plane.agent.failProduction = new StillpointError(reason, "it broke");
    expect(await plane.createReady("a")).toMatchObject({
      kind: CheckpointKind.STANDARD,
      consistency: Consistency.SAVED_STATE,
      fellBack: true,
      reason: code,
      receipt: { summary: `asked for production, got standard, because ${code}: it broke` },
    });
    expect(plane.agent.effects).toEqual(["production", "discard-unproven", "standard"]);
    const fellBack = (await plane.events(checkpointEvents)).find(({ what }) => what === "checkpoint.fell_back");
    expect(fellBack?.data.summary).toBe(`asked for production, got standard, because ${code}: it broke`);
  });

  test("of production-only leaves nothing and says why", async () => {
    await plane.createVm(CheckpointType.PRODUCTION_ONLY);
    plane.agent.failProduction = new StillpointError("QEMU_FAILED", "it broke");
    expect((await plane.create("a")).error).toMatchObject({
      reason: "PRODUCTION_NOT_REACHED",
      message: expect.stringContaining("tx.failed: it broke"),
    });
    expect(plane.agent.effects).not.toContain("standard");
    expect((await plane.list()).checkpoints).toEqual([]);
  });
});
