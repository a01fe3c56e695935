import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { CheckpointType, DrainPolicy, WatchVmsResponse_Kind as Kind, Recovery, VmState } from "#contracts/vm/v1/vm";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { createRecordStore, rawCodec } from "#libs/records";
import { eventually } from "#libs/testing";
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

describe("requests", () => {
  test("a bad spec names every field that is wrong, and nothing is accepted", async () => {
    const request = vm.asked({ cpus: 0, disks: [{ id: "", sizeBytes: 100, excludeFromCheckpoints: false }] });
    await expect(plane.vms.createVm(request)).rejects.toMatchObject({
      reason: "ARGUMENT_INVALID",
      message: expect.stringMatching(/spec\.cpus must be 1 to 256, not 0; spec\.disks\[0\]\.size_bytes/),
    });
    await expect(vm.get()).rejects.toMatchObject({ reason: "VM_NOT_FOUND" });
  });

  test("bad names, unknown images and images of another kind are refused", async () => {
    await expect(plane.vms.createVm({ ...vm.asked(), vmId: "No_Name" })).rejects.toMatchObject({
      reason: "NAME_INVALID",
    });
    await expect(plane.vms.createVm(vm.asked({ image: "none:1" }))).rejects.toMatchObject({
      reason: "IMAGE_NOT_FOUND",
    });
    await expect(plane.vms.createVm(vm.asked({ image: "web:1" }))).rejects.toMatchObject({ reason: "IMAGE_INVALID" });
    const small = vm.asked({ rootSizeBytes: 512 });
    await expect(plane.vms.createVm(small)).rejects.toMatchObject({ reason: "ARGUMENT_INVALID" });
    await expect(plane.vms.startVm({ name })).rejects.toMatchObject({ reason: "VM_NOT_FOUND" });
  });

  test("a repeated request id gives the same operation; with another request it is refused", async () => {
    const requestId = `again-${vm.vmId}`;
    const first = await plane.vms.createVm({ ...vm.asked(), requestId });
    await plane.succeeded(first);
    const again = await plane.vms.createVm({ ...vm.asked(), requestId });
    expect(again.name).toBe(first.name);
    const other = plane.vms.createVm({ ...vm.asked({ cpus: 2 }), requestId });
    await expect(other).rejects.toMatchObject({ reason: "REQUEST_ID_REUSED" });
    await expect(plane.vms.createVm(vm.asked())).rejects.toMatchObject({ reason: "VM_EXISTS" });
  });

  test("a VM that an operation holds is busy; whoever asks is told which", async () => {
    await vm.made();
    const { promise, resolve } = Promise.withResolvers<void>();
    plane.agent.holding.set("startVm", promise);
    const start = await plane.vms.startVm({ name });
    await expect(plane.vms.stopVm({ name, force: true })).rejects.toMatchObject({
      reason: "TARGET_BUSY",
      metadata: { operation: start.name },
    });
    expect((await vm.get()).operation).toBe(start.name);
    resolve();
    await plane.succeeded(start);
  });

  test("a wrong state is refused with what to do; being there already is success", async () => {
    await vm.made({ start: true });
    await plane.succeeded(await plane.vms.startVm({ name }));
    await expect(plane.vms.deleteVm({ name })).rejects.toMatchObject({
      reason: "VM_STATE",
      message: `cannot delete ${name}: it is running`,
      help: "Stop it first, or pass --force to delete it as it is.",
    });
    await plane.succeeded(await plane.vms.deleteVm({ name, force: true }));
  });

  test("a guest that does not power off goes on running", async () => {
    await vm.made({ start: true });
    plane.agent.failing.set("stopVm", new StillpointError("STOP_TIMED_OUT", "the guest did not listen"));
    const { error } = await plane.ended(await plane.vms.stopVm({ name, timeoutSeconds: 1 }));
    expect(error).toMatchObject({ reason: "STOP_TIMED_OUT" });
    expect(await vm.get()).toMatchObject({ state: VmState.RUNNING, operation: "" });
  });

  test("a VM with checkpoints is deleted only with them", async () => {
    await vm.made();
    const store = createRecordStore({ log: plane.streams.rec, codec: rawCodec, clock, random });
    await store.create(`${name}/checkpoints/ckpt-1`, { uid: "ckpt-1", body: {} });
    await expect(plane.vms.deleteVm({ name })).rejects.toMatchObject({
      reason: "VM_HAS_CHECKPOINTS",
      message: `${name} has 1 checkpoint`,
    });
    const request = { name, withCheckpoints: true, requestId: `delete ${name}` };
    const first = await plane.vms.deleteVm(request);
    await plane.succeeded(first);
    expect(await plane.vms.deleteVm(request)).toMatchObject({ name: first.name, done: true });
    await expect(plane.vms.deleteVm({ name })).rejects.toMatchObject({ reason: "VM_NOT_FOUND" });
  });

  test("protected checkpoints are deleted with their VM only where that is said", async () => {
    await vm.made();
    const store = createRecordStore({ log: plane.streams.rec, codec: rawCodec, clock, random });
    await store.create(`${name}/checkpoints/ckpt-1`, { uid: "ckpt-1", body: { protected: true } });
    await store.create(`${name}/checkpoints/ckpt-2`, { uid: "ckpt-2", body: {} });
    await expect(plane.vms.deleteVm({ name, force: true, withCheckpoints: true })).rejects.toMatchObject({
      reason: "VM_HAS_PROTECTED",
      message: `${name} has 1 protected checkpoint`,
    });
    await expect(plane.vms.deleteVm({ name, withProtected: true })).rejects.toMatchObject({
      reason: "VM_HAS_CHECKPOINTS",
    });
    await plane.succeeded(await plane.vms.deleteVm({ name, withCheckpoints: true, withProtected: true }));
  });

  test("the checkpoint type is changed at once, and told", async () => {
    await vm.made();
    const changed = await plane.vms.setCheckpointType({ name, checkpointType: CheckpointType.STANDARD });
    expect(changed.spec?.checkpointType).toBe(CheckpointType.STANDARD);
    expect(await plane.happened(name)).toEqual(["created", "checkpoint_type_changed"]);
    const givenBack = await plane.vms.setCheckpointType({ name });
    expect(givenBack.spec?.checkpointType).toBe(CheckpointType.UNSPECIFIED);
  });

  test("recovery is changed while it is off, on its host too; what else holds for it at any time", async () => {
    const { uid } = await vm.made({ start: true });
    const point = { recoveryPoint: { seconds: 300 }, drain: DrainPolicy.MOVE };
    const changed = await plane.vms.updateVm({ name, ...point });
    expect(changed.spec).toMatchObject(point);
    const restart = () => plane.vms.updateVm({ name, recovery: Recovery.RESTART });
    await expect(restart()).rejects.toMatchObject({ reason: "VM_STATE", help: "Stop it first." });
    await plane.succeeded(await plane.vms.stopVm({ name }));
    expect((await restart()).spec).toMatchObject({ ...point, recovery: Recovery.RESTART });
    await restart();
    expect(plane.agent.effectsOn(uid)).toEqual(["createVm", "startVm", "stopVm", "setVmRecovery"]);
    expect(await plane.happened(name)).toEqual([
      ...["created", "started", "policies_changed", "stopped", "recovery_changed"],
    ]);
    await expect(plane.vms.updateVm({ name, recoveryPoint: { seconds: 1 } })).rejects.toMatchObject({
      reason: "ARGUMENT_INVALID",
    });
  });

  test("exec gives what was printed and the exit code, of a VM that runs", async () => {
    const { uid } = await vm.made();
    const run = () => all(plane.vms.execVm({ name, command: ["ls", "-l"] }));
    await expect(run()).rejects.toMatchObject({ reason: "VM_STATE" });
    await plane.succeeded(await plane.vms.startVm({ name }));
    const [output, end] = await run();
    expect(new TextDecoder().decode(output?.stdout)).toBe(`${uid}: ls -l\n`);
    expect(end?.exitCode).toBe(3);
  });
});

describe("lists and watches", () => {
  test("a list that waits for a write holds it", async () => {
    const { version } = await vm.made();
    const { vms, token } = await plane.vms.listVms({ parent: "projects/default", waitFor: version });
    expect(vms.find((one) => one.name === name)?.state).toBe(VmState.STOPPED);
    expect(token).toBeGreaterThanOrEqual(version);
    expect((await plane.vms.listVms({ parent: "projects/other" })).vms).toEqual([]);

    await newVm(plane).made();
    const names: string[] = [];
    for (let pageToken: string | undefined = ""; pageToken !== undefined; ) {
      const page = await plane.vms.listVms({ parent: "projects/default", pageSize: 1, pageToken });
      names.push(...page.vms.map((one) => one.name));
      pageToken = page.nextPageToken || undefined;
    }
    expect(names.length).toBeGreaterThan(1);
    expect(names).toEqual((await plane.vms.listVms({ parent: "projects/default" })).vms.map((one) => one.name));
    const lost = plane.vms.listVms({ parent: "projects/default", pageToken: "?" });
    await expect(lost).rejects.toMatchObject({ reason: "ARGUMENT_INVALID" });
  });

  test("a watch gives a snapshot, then each change, to the end", async () => {
    await vm.made();
    const stop = new AbortController();
    const seen: string[] = [];
    const watching = (async () => {
      const changes = plane.vms.watchVms({ parent: "projects/default" }, { signal: stop.signal });
      for await (const { kind, vm: seenVm } of changes) {
        if (kind === Kind.SYNCED || seenVm?.name === name) seen.push(`${kind} ${seenVm?.state ?? ""}`);
      }
    })().catch(() => undefined);
    await eventually(() => seen.includes(`${Kind.SYNCED} `));
    await plane.succeeded(await plane.vms.startVm({ name }));
    await plane.succeeded(await plane.vms.deleteVm({ name, force: true }));
    await eventually(() => seen.some((one) => one.startsWith(Kind.DELETED)));
    stop.abort();
    await watching;
    expect(seen[0]).toBe(`${Kind.CURRENT} ${VmState.STOPPED}`);
    expect(seen).toContain(`${Kind.CHANGED} ${VmState.RUNNING}`);
    expect(seen).toContain(`${Kind.CHANGED} ${VmState.DELETING}`);
  });
});

async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const gathered: Item[] = [];
  for await (const item of items) gathered.push(item);
  return gathered;
}
