import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { OperationState } from "#contracts/operation/v1/operation";
import { CheckpointType, VmState } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import { digestInTest, hostInTest } from "#libs/workload-testing";
import { type NewVm, newVm } from "./testing/new-vm.ts";
import { startVmPlane, type VmPlane } from "./testing/vm-plane.ts";

let plane: VmPlane;
beforeAll(async () => {
  plane = await startVmPlane();
});
afterAll(async () => {
  await plane[Symbol.asyncDispose]();
});

let vm: NewVm;
let name = "";
beforeEach(() => {
  vm = newVm(plane);
  name = vm.name;
});

describe("a VM's life", () => {
  test("create, start, pause, resume, reboot, stop, delete", async () => {
    const created = await vm.made();
    expect(created).toMatchObject({
      state: VmState.STOPPED,
      host: hostInTest,
      imageDigest: `guest@${digestInTest}`,
      machineType: "pc-q35-7.2",
      operation: "",
      spec: { rootSizeBytes: 2 ** 30, checkpointType: CheckpointType.UNSPECIFIED },
    });
    const steps = [
      ["startVm", VmState.RUNNING],
      ["pauseVm", VmState.PAUSED],
      ["resumeVm", VmState.RUNNING],
      ["rebootVm", VmState.RUNNING],
      ["stopVm", VmState.STOPPED],
    ] as const;
    for (const [method, state] of steps) {
      await plane.succeeded(await plane.vms[method]({ name }));
      expect((await vm.get()).state).toBe(state);
    }
    await plane.succeeded(await plane.vms.deleteVm({ name }));
    await expect(vm.get()).rejects.toMatchObject({ reason: "VM_NOT_FOUND" });
    expect(plane.reservations.has(created.uid)).toBe(false);
    expect(plane.agent.workloads.has(created.uid)).toBe(false);
    expect(await plane.happened(name)).toEqual([
      "created",
      "started",
      "paused",
      "resumed",
      "rebooted",
      "stopped",
      "deleting",
      "deleted",
    ]);
  });

  test("create with start runs it", async () => {
    const { uid, state } = await vm.made({ start: true });
    expect(state).toBe(VmState.RUNNING);
    expect(plane.agent.effectsOn(uid)).toEqual(["createVm", "startVm"]);
    expect(await plane.happened(name)).toEqual(["created", "started"]);
  });

  test("each claim fences before its first step", async () => {
    const { uid } = await vm.made({ start: true });
    expect(plane.agent.fences.filter((fence) => fence.uid === uid)).toHaveLength(1);
    await plane.succeeded(await plane.vms.stopVm({ name }));
    const [create, stop] = plane.agent.fences.filter((fence) => fence.uid === uid);
    expect(stop?.epoch).toBeGreaterThan(create?.epoch ?? 0);
  });

  test("a name that is free again is another VM", async () => {
    const first = await vm.made();
    await plane.succeeded(await plane.vms.deleteVm({ name }));
    expect((await vm.made()).uid).not.toBe(first.uid);
  });
});

describe("a creation that fails leaves nothing", () => {
  const nothingIsLeft = async () => {
    await expect(vm.get()).rejects.toMatchObject({ reason: "VM_NOT_FOUND" });
    expect([...plane.reservations.values()].map(({ workload }) => workload)).not.toContain(name);
    expect([...plane.agent.workloads.values()].map((workload) => workload.name)).not.toContain(name);
    expect(await plane.happened(name)).toEqual(["failed"]);
  };

  test("when no host fits", async () => {
    plane.placeFailure = new StillpointError("NO_HOST_FITS", "no host fits it: hosts/n1: cpu: needs 9 cpus");
    const { state, error } = await plane.ended(await plane.vms.createVm(vm.asked()));
    expect(state).toBe(OperationState.FAILED);
    expect(error).toMatchObject({ reason: "NO_HOST_FITS", message: "no host fits it: hosts/n1: cpu: needs 9 cpus" });
    await nothingIsLeft();
  });

  test("when the disks cannot be made", async () => {
    plane.agent.failing.set("createVm", new StillpointError("SPACE_INSUFFICIENT", "the disk is full"));
    const { error } = await plane.ended(await plane.vms.createVm(vm.asked()));
    expect(error).toMatchObject({ reason: "SPACE_INSUFFICIENT" });
    await nothingIsLeft();
  });

  test("when it does not start", async () => {
    plane.agent.failing.set("startVm", new StillpointError("QEMU_FAILED", "no accelerator"));
    const { error } = await plane.ended(await plane.vms.createVm({ ...vm.asked(), start: true }));
    expect(error).toMatchObject({ reason: "QEMU_FAILED" });
    await nothingIsLeft();
  });

  test("but a record that says so, when it cannot be taken back; that can be deleted", async () => {
    plane.agent.failing.set("createVm", new StillpointError("SPACE_INSUFFICIENT", "the disk is full"));
    plane.agent.failing.set("deleteVm", new StillpointError("QEMU_FAILED", "it will not go"));
    const { state } = await plane.ended(await plane.vms.createVm(vm.asked()));
    expect(state).toBe(OperationState.NEEDS_ATTENTION);
    const failed = await vm.get();
    expect(failed).toMatchObject({ state: VmState.FAILED, host: hostInTest, operation: "" });
    expect(failed.stateReason).toContain("it will not go");
    plane.agent.failing.clear();
    await plane.succeeded(await plane.vms.deleteVm({ name }));
    expect([...plane.reservations.values()].map(({ workload }) => workload)).not.toContain(name);
  });
});

test("one whose host was lost is on no host, and can be deleted; others are left alone", async () => {
  const { uid } = await vm.made();
  const asked = { name, uid, host: hostInTest };
  expect(await plane.vms.markVmLost({ ...asked, host: "hosts/other" })).toMatchObject({ state: VmState.STOPPED });
  const lost = { state: VmState.FAILED, stateReason: `it was lost with ${hostInTest}`, host: "" };
  expect(await plane.vms.markVmLost(asked)).toMatchObject(lost);
  expect(await plane.vms.markVmLost(asked)).toMatchObject(lost);
  await expect(plane.vms.startVm({ name })).rejects.toMatchObject({ reason: "VM_STATE" });
  await plane.succeeded(await plane.vms.deleteVm({ name }));
  expect((await plane.happened(name)).slice(-3)).toEqual(["lost", "deleting", "deleted"]);
});

test("one that is busy is not lost", async () => {
  const { uid } = await vm.made();
  const { promise, resolve } = Promise.withResolvers<void>();
  plane.agent.holding.set("startVm", promise);
  const starting = await plane.vms.startVm({ name });
  await expect(plane.vms.markVmLost({ name, uid, host: hostInTest })).rejects.toMatchObject({ reason: "TARGET_BUSY" });
  resolve();
  await plane.succeeded(starting);
});
