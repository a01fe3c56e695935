import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { LeaseHappened, WorkloadState } from "#contracts/host/v1/agent";
import { CheckpointReadiness, CheckpointType, VmState } from "#contracts/vm/v1/vm";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
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

describe("observations", () => {
  const stateIs = (state: VmState) => eventually(async () => (await vm.get()).state === state, { deadlineMs: 20_000 });
  const state = (value: WorkloadState) => ({ $case: "state", value }) as const;

  test("a crash is folded in and told", async () => {
    const { uid } = await vm.made({ start: true });
    plane.agent.set(uid, { state: WorkloadState.CRASHED });
    await plane.observe({ uid, workload: name, happened: state(WorkloadState.CRASHED), reason: "QEMU got SIGSEGV" });
    await stateIs(VmState.CRASHED);
    expect((await vm.get()).stateReason).toBe("QEMU got SIGSEGV");
    expect(await plane.happened(name)).toEqual(["created", "started", "crashed"]);
  });

  test("the guest's agent is seen, and gone with the guest", async () => {
    const { uid } = await vm.made({ start: true });
    const guestAgent = { connected: true, version: "7.2" };
    plane.agent.set(uid, { guestAgent });
    await plane.observe({ uid, workload: name, happened: { $case: "guestAgent", value: guestAgent } });
    await eventually(async () => (await vm.get()).guestAgent?.connected);
    await plane.succeeded(await plane.vms.stopVm({ name }));
    expect((await vm.get()).guestAgent?.connected).toBe(false);
    expect(await plane.happened(name)).toEqual(["created", "started", "agent_connected", "stopped"]);
  });

  test("an old word about the guest's agent, which may come to another replica, says how it is now", async () => {
    const { uid } = await vm.made({ start: true });
    const tell = async (connected: boolean) =>
      plane.observe({ uid, workload: name, happened: { $case: "guestAgent", value: { connected, version: "7.2" } } });
    plane.agent.set(uid, { guestAgent: { connected: true, version: "7.2" } });
    await tell(false);
    await eventually(async () => (await vm.get()).guestAgent?.connected);
    plane.agent.set(uid, { guestAgent: { connected: false, version: "7.2" } });
    await tell(true);
    await eventually(async () => (await vm.get()).guestAgent?.connected === false);
  });

  test("what is old, of another host or of another incarnation changes nothing", async () => {
    const { uid, version } = await vm.made({ start: true });
    await plane.observe({ uid, workload: name, happened: state(WorkloadState.CRASHED) });
    await plane.observe({ uid: "vm-other", workload: name, happened: state(WorkloadState.CRASHED) });
    await plane.observe({ uid, workload: name, host: "hosts/n2", happened: state(WorkloadState.CRASHED) });
    await plane.observe({ uid, workload: name, happened: { $case: "foundFrozen", value: {} }, reason: "no lease" });
    await eventually(async () => (await plane.happened(name)).includes("found_frozen"));
    const after = await vm.get();
    expect(after).toMatchObject({ state: VmState.RUNNING, version: version + 1 });
  });

  test("what the lease of a host does is told, also of a host that it has left, and stands in its state", async () => {
    const { uid } = await vm.made({ start: true });
    const reason = "host cannot reach the control plane";
    const holdTime = new Date("2026-01-02T03:04:05Z");
    const lease = (what: LeaseHappened) => ({ $case: "lease", value: { what, holdTime, endTime: undefined } }) as const;
    plane.agent.set(uid, { state: WorkloadState.PAUSED });
    await plane.observe({ uid, workload: name, happened: lease(LeaseHappened.PAUSED), reason });
    await plane.observe({ uid, workload: name, happened: state(WorkloadState.PAUSED), reason });
    await stateIs(VmState.PAUSED);
    expect(await vm.get()).toMatchObject({ stateReason: reason });
    await plane.observe({ uid, workload: name, host: "hosts/n2", happened: lease(LeaseHappened.ENDED) });
    await eventually(async () => (await plane.happened(name)).includes("lease_ended"));
    expect(await plane.happened(name)).toEqual(["created", "started", "lease_paused", "paused", "lease_ended"]);
  });

  test("what a checkpoint would give is folded in, told when it changes, and judged by the policy that holds", async () => {
    const { uid } = await vm.made({ start: true });
    const seen = (ms: number, ...codes: string[]) => {
      const findings = codes.map((code) => ({ code }));
      const value = CheckpointReadiness.fromPartial({ time: new Date(ms), freeBytes: ms, findings });
      return plane.observe({ uid, workload: name, happened: { $case: "readiness", value } });
    };
    const outcome = async () => (await vm.get()).checkpointReadiness?.outcome;
    await seen(2, "agent.absent");
    await eventually(async () => (await outcome()) === "standard");
    await seen(1);
    await seen(3, "agent.absent");
    await eventually(async () => (await vm.get()).checkpointReadiness?.freeBytes === 3);
    await seen(4);
    await eventually(async () => (await outcome()) === "production");
    expect(await plane.happened(name)).toEqual(["created", "started", "readiness_changed"]);
    await seen(5, "agent.absent");
    await eventually(async () => (await outcome()) === "standard");
    await plane.vms.setCheckpointType({ name, checkpointType: CheckpointType.PRODUCTION_ONLY });
    expect((await vm.get()).checkpointReadiness).toMatchObject({
      outcome: "refused",
      policy: CheckpointType.PRODUCTION_ONLY,
    });
  });

  test("a host that says otherwise than it saw is asked again before it is believed", async () => {
    const { uid } = await vm.made({ start: true });
    plane.agent.set(uid, { state: WorkloadState.CRASHED });
    await plane.observe({ uid, workload: name, happened: state(WorkloadState.STOPPED) });
    await eventually(() => plane.agent.asked.filter((one) => one === uid).length >= 3);
    plane.agent.set(uid, { state: WorkloadState.STOPPED });
    await stateIs(VmState.STOPPED);
    expect(await plane.happened(name)).toEqual(["created", "started", "stopped"]);
  });

  test("a VM that a checkpoint pauses for a moment is not paused for its record, however often the host is asked", async () => {
    const { uid } = await vm.made({ start: true });
    plane.agent.set(uid, { state: WorkloadState.PAUSED });
    await plane.observe({ uid, workload: name, happened: state(WorkloadState.RUNNING) });
    await eventually(() => plane.agent.asked.filter((one) => one === uid).length >= 5, { deadlineMs: 15_000 });
    expect((await vm.get()).state).toBe(VmState.RUNNING);
    plane.agent.set(uid, { state: WorkloadState.CRASHED });
    await stateIs(VmState.CRASHED);
    expect(await plane.happened(name)).toEqual(["created", "started", "crashed"]);
  }, 30_000);

  test("a change during another service's operation is folded in, and the operation keeps the VM", async () => {
    const { uid } = await vm.made({ start: true });
    const store = createRecordStore({ log: plane.streams.rec, codec: rawCodec, clock, random });
    await store.modify(name, () => ({ operation: "op-of-another" }));
    plane.agent.set(uid, { state: WorkloadState.STOPPED });
    await plane.observe({ uid, workload: name, happened: state(WorkloadState.STOPPED) });
    await stateIs(VmState.STOPPED);
    expect((await vm.get()).operation).toBe("operations/op-of-another");
  });
});
