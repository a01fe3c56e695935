import { expect, test } from "vitest";
import { WorkloadState } from "#contracts/host/v1/agent";
import { HostState } from "#contracts/scheduler/v1/scheduler";
import { StillpointError } from "#libs/errors";
import { eventually } from "#libs/testing";
import { startRecoveryStage } from "../testing/recovery-stage.ts";
import { away } from "../testing/stage-hosts.ts";

const full = () => {
  throw new StillpointError("SPACE_INSUFFICIENT", "its disk is full");
};

test("a host that refuses a VM is given up, and one other is tried", async () => {
  await using stage = await startRecoveryStage();
  const { hosts } = stage;
  hosts.fail("n1");
  hosts.of("n2").answer = (action) => (action === "receiveCheckpoint" ? full() : undefined);
  const { state, output } = (await stage.ended(await stage.recover("n1"))) ?? {};
  expect({ state, output }).toMatchObject({
    state: "OPERATION_STATE_SUCCEEDED",
    output: { from: "hosts/n1", to: "hosts/n3", triedFirst: "hosts/n2: SPACE_INSUFFICIENT: its disk is full" },
  });
  expect(hosts.asked).toEqual([
    ...["n2 deleteVm", "n2 createVm", "n2 receiveCheckpoint", "n2 deleteVm"],
    ...["n3 deleteVm", "n3 createVm", "n3 receiveCheckpoint", "n3 applyCheckpoint"],
    ...["n3 removeCheckpoints", "n3 startVm"],
  ]);
  expect(hosts.released).toEqual(["hosts/n2", "hosts/n1"]);
  expect(await stage.vm()).toMatchObject({ host: "hosts/n3", state: "VM_STATE_RUNNING", stateReason: "" });
});

test.for([
  ["goes down, at once", HostState.DOWN, 1],
  ["is heard and does not answer, after 30 s", HostState.READY, 31],
] as const)("a host that %s, is given up", async ([_how, state, tries]) => {
  await using stage = await startRecoveryStage();
  const { hosts } = stage;
  hosts.fail("n1");
  hosts.of("n2").answer = (action) => {
    hosts.of("n2").state = state;
    if (action !== "look") away();
  };
  const ended = await stage.ended(await stage.recover("n1"));
  expect(ended?.output).toMatchObject({ to: "hosts/n3" });
  expect(String(ended?.output?.triedFirst)).toContain("its files stay there");
  const brought = hosts.asked.filter((line) => line === "n2 deleteVm").length - 1;
  expect(brought).toBe(tries);
});

test("when no host takes it all is taken back, and it is told; it can be asked for again", async () => {
  await using stage = await startRecoveryStage({
    vm: { state: "VM_STATE_PAUSED", stateReason: "host cannot reach the control plane" },
  });
  const { hosts } = stage;
  hosts.fail("n1");
  for (const id of ["n2", "n3"]) hosts.of(id).answer = (action) => (action === "createVm" ? full() : undefined);
  const ended = await stage.ended(await stage.recover("n1"));
  const why = "hosts/n2: SPACE_INSUFFICIENT: its disk is full; hosts/n3: SPACE_INSUFFICIENT: its disk is full";
  expect(ended).toMatchObject({ state: "OPERATION_STATE_FAILED", error: { reason: "NO_HOST_FITS" } });
  expect(ended?.error?.message).toContain(why);
  expect(new Set(hosts.released)).toEqual(new Set(["hosts/n2", "hosts/n3"]));
  // Still as one that ran: what its guard has paused is recovered, what a person has paused is not.
  expect(await stage.vm()).toMatchObject({ host: "hosts/n1", state: "VM_STATE_RUNNING" });
  expect((await stage.vm())?.stateReason).toContain("hosts/n1 is down, and it is not recovered: NO_HOST_FITS");
  expect(stage.events.map(({ happened }) => happened)).toContain("recovery_failed");
  hosts.bringBack("n3");
  expect(await stage.ended(await stage.recover("n1"))).toMatchObject({ output: { to: "hosts/n3" } });
});

test("without a point nothing is tried; when its host comes back it goes on there", async () => {
  await using stage = await startRecoveryStage({ hasPoint: false });
  stage.hosts.fail("n1");
  expect(await stage.ended(await stage.recover("n1"))).toMatchObject({ error: { reason: "RECOVERY_POINT_MISSING" } });
  expect(stage.hosts.asked).toEqual([]);
  expect((await stage.vm())?.stateReason).toContain("RECOVERY_POINT_MISSING");
  expect(stage.events.map(({ happened }) => happened)).toContain("recovery_failed");
  expect(await stage.holder()).toBeUndefined();
});

test("one that comes to a host which fails as well and is back at once, is started there", async () => {
  await using stage = await startRecoveryStage();
  const { hosts } = stage;
  hosts.fail("n1");
  hosts.of("n2").answer = (action) => (action === "startVm" ? away() : undefined);
  const first = await stage.recover("n1");
  await eventually(async () => (await stage.vm())?.host === "hosts/n2", { deadlineMs: 5_000 });
  hosts.fail("n2");
  // Back between the acceptance, which looks first, and the recovery's own look.
  let looks = 0;
  const get = hosts.get.bind(hosts);
  hosts.get = async (name) => {
    if (++looks === 2) hosts.bringBack("n2");
    return await get(name);
  };
  const second = await stage.recover("n2");
  expect(await stage.ended(first)).toMatchObject({ error: { reason: "OPERATION_SUPERSEDED" } });
  expect(await stage.ended(second)).toMatchObject({ error: { reason: "RECOVERY_NOT_NEEDED" } });
  expect(hosts.of("n2").vm).toBe("WORKLOAD_STATE_RUNNING");
  expect(await stage.vm()).toMatchObject({ host: "hosts/n2", state: "VM_STATE_RUNNING", stateReason: "" });
});

test("what holds it and does not end is superseded, and writes nothing any more", async () => {
  await using stage = await startRecoveryStage();
  const { hosts } = stage;
  const late = Promise.withResolvers<void>();
  hosts.of("n1").answer = () => late.promise;
  const stop = await stage.ask("stop", { force: false, timeoutSeconds: 30 });
  await eventually(() => hosts.asked.includes("n1 stopVm"), { deadlineMs: 5_000 });
  hosts.of("n1").state = HostState.DOWN;
  const recovery = await stage.ended(await stage.recover("n1"));
  expect(recovery).toMatchObject({ state: "OPERATION_STATE_SUCCEEDED", output: { to: "hosts/n2" } });
  const superseded = { state: "OPERATION_STATE_FAILED", error: { reason: "OPERATION_SUPERSEDED" } };
  expect(await stage.ended(stop)).toMatchObject(superseded);
  late.resolve();
  await stage.operations.deps.clock.sleep(50);
  expect(await stage.ended(stop)).toMatchObject(superseded);
  expect(await stage.vm()).toMatchObject({ host: "hosts/n2", state: "VM_STATE_RUNNING" });
});

test("it cannot be deleted while it is recovered; one that is being deleted is recovered when that fails", async () => {
  await using stage = await startRecoveryStage();
  const { hosts } = stage;
  hosts.fail("n1");
  const hold = Promise.withResolvers<void>();
  hosts.of("n2").answer = (action) => (action === "receiveCheckpoint" ? hold.promise : undefined);
  const recovery = await stage.recover("n1");
  await eventually(() => hosts.asked.includes("n2 receiveCheckpoint"), { deadlineMs: 5_000 });
  await expect(stage.remove()).rejects.toMatchObject({ reason: "TARGET_BUSY" });
  await expect(stage.remove()).rejects.toThrow(recovery.name);
  hold.resolve();
  expect(await stage.ended(recovery)).toMatchObject({ output: { to: "hosts/n2" } });
  hosts.of("n2").answer = (action) => (action === "deleteVm" ? hosted.promise : undefined);
  const hosted = Promise.withResolvers<void>();
  const removal = await stage.remove();
  await eventually(() => hosts.asked.at(-1) === "n2 deleteVm", { deadlineMs: 5_000 });
  hosts.of("n2").state = HostState.DOWN;
  await expect(stage.recover("n2")).rejects.toMatchObject({ reason: "TARGET_BUSY" });
  hosts.of("n2").answer = () => {
    throw new StillpointError("QEMU_FAILED", "it does not end");
  };
  hosted.reject(new StillpointError("QEMU_FAILED", "it does not end"));
  expect(await stage.ended(removal)).toMatchObject({ error: { reason: "QEMU_FAILED" } });
  expect(await stage.ended(await stage.recover("n2"))).toMatchObject({ output: { from: "hosts/n2" } });
});

/** A VM whose recovery from n1 has failed, and which is so there. */
async function startUnrecovered(there: WorkloadState) {
  const stage = await startRecoveryStage();
  const { hosts } = stage;
  for (const id of ["n1", "n2", "n3"]) hosts.fail(id);
  hosts.of("n1").vm = there;
  expect(await stage.ended(await stage.recover("n1"))).toMatchObject({ error: { reason: "NO_HOST_FITS" } });
  return stage;
}

test.each([
  ["that a move had stopped is started there", WorkloadState.STOPPED, 1],
  ["that ended with its host is started there", WorkloadState.CRASHED, 1],
  ["that its guard had paused goes on there", WorkloadState.RUNNING, 0],
])("what could not be recovered %s when its host is back", async (_what, there, starts) => {
  await using stage = await startUnrecovered(there);
  const { hosts } = stage;
  hosts.bringBack("n1");
  expect(await stage.ended(await stage.recover("n1"))).toMatchObject({ error: { reason: "RECOVERY_NOT_NEEDED" } });
  expect(hosts.asked.filter((line) => line === "n1 startVm")).toHaveLength(starts);
  expect(await stage.vm()).toMatchObject({ host: "hosts/n1", state: "VM_STATE_RUNNING", stateReason: "" });
  await expect(stage.recover("n1")).rejects.toMatchObject({ reason: "RECOVERY_NOT_NEEDED" });
});

test("what a person does on the host that is back is not ended, and what was stopped stays so", async () => {
  await using stage = await startUnrecovered(WorkloadState.RUNNING);
  const { hosts } = stage;
  hosts.bringBack("n1");
  const hold = Promise.withResolvers<void>();
  hosts.of("n1").answer = (action) => (action === "stopVm" ? hold.promise : undefined);
  const stop = await stage.ask("stop", { force: false, timeoutSeconds: 30 });
  await expect(stage.recover("n1")).rejects.toMatchObject({ reason: "TARGET_BUSY" });
  hold.resolve();
  expect(await stage.ended(stop)).toMatchObject({ state: "OPERATION_STATE_SUCCEEDED" });
  await expect(stage.recover("n1")).rejects.toMatchObject({ reason: "RECOVERY_NOT_NEEDED" });
  expect(await stage.vm()).toMatchObject({ state: "VM_STATE_STOPPED", stateReason: "" });
});

test("one that its host, back, says has ended with it is still to be started", async () => {
  await using stage = await startUnrecovered(WorkloadState.CRASHED);
  stage.hosts.bringBack("n1");
  await stage.fold(WorkloadState.CRASHED, "QEMU is gone");
  expect((await stage.vm())?.state).toBe("VM_STATE_CRASHED");
  await stage.ended(await stage.recover("n1"));
  expect(await stage.vm()).toMatchObject({ state: "VM_STATE_RUNNING", stateReason: "" });
  await stage.fold(WorkloadState.CRASHED, "QEMU got SIGSEGV");
  expect(await stage.vm()).toMatchObject({ state: "VM_STATE_CRASHED", stateReason: "QEMU got SIGSEGV" });
  await expect(stage.recover("n1")).rejects.toMatchObject({ reason: "RECOVERY_NOT_NEEDED" });
});
