import { expect, test } from "vitest";
import { Operation } from "#contracts/operation/v1/operation";
import { Host, HostState, Ledger } from "#contracts/scheduler/v1/scheduler";
import { StillpointError } from "#libs/errors";
import { silentLogger as logger } from "#libs/logger";
import type { HostRecords } from "../hosts/host-records.ts";
import { Recoveries, type RecoveriesDeps } from "./recoveries.ts";

const stored = (name: string, body: unknown, version = 7) => ({ name, uid: "vm-1", body, version, time: new Date() });

/** One host that is down, with one workload reserved on it, or several; answers are what its service gives, in order. */
function stage(
  vm: Readonly<Record<string, unknown>>,
  answers: readonly (string | StillpointError)[],
  vms = 1,
  workload = "projects/default/vms/db",
) {
  const asked: string[] = [];
  const reads: string[] = [];
  const ended = new Map<string, Operation>();
  const left = [...answers];
  let nowMs = 1_000;
  let state: HostState = HostState.DOWN;
  let mustWait = false;
  const held = { operation: "operations/op", requirements: undefined };
  const reservations = Array.from({ length: vms }, (_, index) => ({ ...held, uid: `vm-${index + 1}`, workload }));
  const hosts = { list: () => [stored("hosts/n1", Host.fromPartial({ name: "hosts/n1", state }))] };
  const ledgers = { get: () => stored("hosts/n1/ledger", Ledger.fromPartial({ name: "", reservations })) };
  const body = { host: "hosts/n1", state: "VM_STATE_RUNNING", spec: { recovery: "RECOVERY_RESTART" }, ...vm };
  const answer = async ({ requestId = "" }) => {
    asked.push(requestId);
    const next = left.shift() ?? `op-more-${asked.length}`;
    if (next instanceof StillpointError) throw next;
    return Operation.fromPartial({ name: `operations/${next}` });
  };
  const recoveries = new Recoveries({
    records: { hosts, ledgers } as unknown as HostRecords,
    readWorkload: async () => {
      const { uid = "" } = reservations[reads.push(workload) - 1] ?? reservations[0] ?? {};
      return { ...stored(workload, body), uid } as unknown as Awaited<ReturnType<RecoveriesDeps["readWorkload"]>>;
    },
    vms: { recoverVm: answer },
    containers: {
      recoverContainer: (given) => answer({ requestId: `container-${given.requestId}` }),
    },
    operations: { get: async (id) => ended.get(id) ?? Operation.fromPartial({ name: `operations/${id}` }) },
    owns: () => true,
    mustWait: () => mustWait,
    clock: { monotonicMs: () => nowMs } as RecoveriesDeps["clock"],
    logger,
  });
  const fail = (id: string, reason: string) =>
    ended.set(id, Operation.fromPartial({ name: `operations/${id}`, done: true, error: { reason } }));
  return {
    asked,
    reads,
    fail,
    tick: () => recoveries.tick(),
    pass: (ms: number) => {
      nowMs += ms;
    },
    wait: (must: boolean) => {
      mustWait = must;
    },
    bringBack: () => {
      state = HostState.READY;
    },
  };
}

const id = "recover-hosts.n1-7-vm-1";

test("nothing is asked for while many hosts are still to be said to be down", async () => {
  const { asked, tick, wait } = stage({}, ["op-1"]);
  wait(true);
  await tick();
  expect(asked).toEqual([]);
  wait(false);
  await tick();
  expect(asked).toEqual([`${id}-1`]);
});

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

test("of many only some are under way at once, and the next ones follow when those are over", async () => {
  const { asked, fail, tick } = stage({}, [], 100);
  await tick();
  await tick();
  expect(asked).toHaveLength(64);
  fail("op-more-1", "RECOVERY_POINT_MISSING");
  await tick();
  await tick();
  expect(asked).toHaveLength(65);
});

test("a VM that is none that is recovered is looked at ever less often, one that may become one every 5 s", async () => {
  const looks = async (vm: Readonly<Record<string, unknown>>) => {
    const { reads, tick, pass } = stage(vm, []);
    for (let second = 0; second < 120; second++) {
      await tick();
      pass(1_000);
    }
    return reads.length;
  };
  expect(await looks({ spec: { recovery: "RECOVERY_NONE" } })).toBe(5);
  expect(await looks({ state: "VM_STATE_STOPPED" })).toBe(24);
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

test.each([
  ["CONTAINER_STATE_RUNNING", 1],
  ["CONTAINER_STATE_RESTARTING", 1],
  ["CONTAINER_STATE_PAUSED", 1], // for a checkpoint, which its host cannot end any more
  ["CONTAINER_STATE_EXITED", 0],
  ["CONTAINER_STATE_STOPPED", 0],
])("a container that was %s is asked for %i times", async (state, times) => {
  const { asked, tick } = stage({ state }, [], 1, "projects/default/containers/db");
  await tick();
  expect(asked).toEqual(times === 1 ? [`container-${id}-1`] : []);
});
