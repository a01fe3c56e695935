import { expect, test } from "vitest";
import { Operation } from "#contracts/operation/v1/operation";
import { Host, HostState, Ledger } from "#contracts/scheduler/v1/scheduler";
import { StillpointError } from "#libs/errors";
import { silentLogger as logger } from "#libs/logger";
import type { HostRecords } from "../hosts/host-records.ts";
import { Recoveries, type RecoveriesDeps } from "./recoveries.ts";

const workload = "projects/default/vms/db";
const stored = (name: string, body: unknown, version = 7) => ({ name, uid: "vm-1", body, version, time: new Date() });

/** One host that is down, with one VM reserved on it; answers are what RecoverVm gives, in order. */
function stage(vm: Readonly<Record<string, unknown>>, answers: readonly (string | StillpointError)[]) {
  const asked: string[] = [];
  const ended = new Map<string, Operation>();
  const left = [...answers];
  let nowMs = 1_000;
  let state: HostState = HostState.DOWN;
  const reservations = [{ uid: "vm-1", workload, operation: "operations/op", requirements: undefined }];
  const hosts = { list: () => [stored("hosts/n1", Host.fromPartial({ name: "hosts/n1", state }))] };
  const ledgers = { get: () => stored("hosts/n1/ledger", Ledger.fromPartial({ name: "", reservations })) };
  const body = { host: "hosts/n1", state: "VM_STATE_RUNNING", spec: { recovery: "RECOVERY_RESTART" }, ...vm };
  const recoveries = new Recoveries({
    records: { hosts, ledgers } as unknown as HostRecords,
    readWorkload: async () => stored(workload, body) as unknown as Awaited<ReturnType<RecoveriesDeps["readWorkload"]>>,
    vms: {
      async recoverVm({ requestId = "" }) {
        asked.push(requestId);
        const answer = left.shift() ?? "op-more";
        if (answer instanceof StillpointError) throw answer;
        return Operation.fromPartial({ name: `operations/${answer}` });
      },
    },
    operations: { get: async (id) => ended.get(id) ?? Operation.fromPartial({ name: `operations/${id}` }) },
    owns: () => true,
    clock: { monotonicMs: () => nowMs } as RecoveriesDeps["clock"],
    logger,
  });
  const fail = (id: string, reason: string) =>
    ended.set(id, Operation.fromPartial({ name: `operations/${id}`, done: true, error: { reason } }));
  return {
    asked,
    fail,
    tick: () => recoveries.tick(),
    pass: (ms: number) => {
      nowMs += ms;
    },
    bringBack: () => {
      state = HostState.READY;
    },
  };
}

const id = "recover-hosts.n1-7-vm-1";

test("each VM is asked for once while its recovery goes on, and again when that failed", async () => {
  const { asked, fail, tick, pass } = stage({}, ["op-1", "op-2"]);
  await tick();
  await tick();
  expect(asked).toEqual([`${id}-1`]);
  fail("op-1", "NO_HOST_FITS");
  await tick();
  await tick();
  expect(asked).toHaveLength(1);
  pass(2_000);
  await tick();
  expect(asked).toEqual([`${id}-1`, `${id}-2`]);
});

test("what was not answered is asked again as it was; what is busy a little later, as another request", async () => {
  const away = new StillpointError("UNAVAILABLE", "nobody answers");
  const busy = new StillpointError("TARGET_BUSY", "it is busy");
  const { asked, tick, pass } = stage({}, [away, busy, "op-1"]);
  await tick();
  await tick();
  await tick();
  pass(2_000);
  await tick();
  expect(asked).toEqual([`${id}-1`, `${id}-1`, `${id}-2`]);
});

test("without a point nothing is asked again until the host has been back", async () => {
  const { asked, fail, tick, pass, bringBack } = stage({}, ["op-1", "op-2"]);
  await tick();
  fail("op-1", "RECOVERY_POINT_MISSING");
  for (let i = 0; i < 3; i++) {
    await tick();
    pass(100_000);
  }
  expect(asked).toHaveLength(1);
  bringBack();
  await tick();
  expect(asked).toHaveLength(1);
});

test("one that its host's guard has paused is recovered; one that a person has paused is not", async () => {
  const paused = { state: "VM_STATE_PAUSED", stateReason: "host cannot reach the control plane" };
  const { asked, tick } = stage(paused, []);
  await tick();
  expect(asked).toHaveLength(1);
});

test.each([
  ["was paused by a person", { state: "VM_STATE_PAUSED", stateReason: "paused" }],
  ["is not to be recovered", { spec: { recovery: "RECOVERY_NONE" } }],
  ["does not run", { state: "VM_STATE_STOPPED" }],
  ["is elsewhere by now", { host: "hosts/n2" }],
])("a VM that %s is left alone", async (_why, vm) => {
  const { asked, tick } = stage(vm, []);
  await tick();
  expect(asked).toEqual([]);
});
