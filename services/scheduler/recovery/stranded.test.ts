import { expect, test } from "vitest";
import { Operation } from "#contracts/operation/v1/operation";
import { Host, HostState, Ledger } from "#contracts/scheduler/v1/scheduler";
import { StillpointError } from "#libs/errors";
import { silentLogger as logger } from "#libs/logger";
import type { HostRecords } from "../hosts/host-records.ts";
import { Stranded, type StrandedDeps } from "./stranded.ts";

const workload = "projects/default/vms/db";
const unrecovered = "hosts/n1 is down, and it is not recovered: NO_HOST_FITS: no host fits";

/** One host, down at first, with one workload reserved on it, or several; answers are what its service gives, in order. */
function stage(answers: readonly StillpointError[] = [], name = workload, others = 0) {
  const asked: string[] = [];
  const left = [...answers];
  let nowMs = 1_000;
  let state: HostState = HostState.DOWN;
  let isOwner = true;
  let reads = 0;
  const record = {
    ...{ uid: "vm-1", version: 20, operation: undefined as string | undefined },
    body: { host: "hosts/n1", stateReason: unrecovered } as Record<string, unknown>,
  };
  const held = { operation: "operations/op", requirements: undefined };
  const more = Array.from({ length: others }, (_, index) => ({
    ...held,
    uid: `more-${index}`,
    workload: `${name}-${index}`,
  }));
  const reservations = [{ ...held, uid: "vm-1", workload: name }, ...more];
  const host = () => ({ name: "hosts/n1", version: 7, body: Host.fromPartial({ name: "hosts/n1", state }) });
  const records = {
    hosts: { values: () => [host()], get: host },
    ledgers: { get: () => ({ body: Ledger.fromPartial({ reservations }) }) },
  };
  const answer = async ({ requestId = "" }) => {
    asked.push(requestId);
    const next = left.shift();
    if (next !== undefined) throw next;
    return Operation.fromPartial({ name: "operations/started" });
  };
  const stranded = new Stranded({
    records: records as unknown as HostRecords,
    readWorkload: async (of) => {
      reads++;
      const { uid } = more.find((one) => one.workload === of) ?? record;
      return { name: of, ...record, uid } as unknown as Awaited<ReturnType<StrandedDeps["readWorkload"]>>;
    },
    vms: { recoverVm: answer },
    containers: { recoverContainer: ({ requestId }) => answer({ requestId: `container-${requestId}` }) },
    owns: () => isOwner,
    clock: { monotonicMs: () => nowMs } as StrandedDeps["clock"],
    logger,
  });
  return {
    asked,
    record,
    stranded,
    reads: () => reads,
    be: (next: HostState) => {
      state = next;
    },
    own: (is: boolean) => {
      isOwner = is;
    },
    /** Looks each half second. */
    pass: async (ms: number) => {
      for (const endMs = nowMs + ms; nowMs < endMs; nowMs += 500) await stranded.tick();
    },
  };
}

test("what could not be recovered is asked for once when its host is back, and forgotten when it runs", async () => {
  const { asked, record, reads, be, pass } = stage();
  await pass(5_000);
  expect(asked).toEqual([]);
  be(HostState.CORDONED);
  await pass(500);
  expect(asked).toEqual(["stranded-vm-1-20"]);
  record.body = { host: "hosts/n1", stateReason: "" };
  await pass(2_000);
  const before = reads();
  await pass(300_000);
  expect([asked.length, reads()]).toEqual([1, before]);
});

test("asked again it is the same request, until its record says anew that it was not recovered", async () => {
  const { asked, record, be, pass } = stage([new StillpointError("UNAVAILABLE", "nobody answers")]);
  await pass(500);
  be(HostState.READY);
  await pass(3_000);
  expect(new Set(asked)).toEqual(new Set(["stranded-vm-1-20"]));
  expect(asked.length).toBeGreaterThan(1);
  record.version = 23;
  await pass(60_000);
  expect(new Set(asked)).toEqual(new Set(["stranded-vm-1-20", "stranded-vm-1-23"]));
});

test("while a recovery that was begun before holds it, it is waited for what that says", async () => {
  const { asked, record, be, pass } = stage();
  Object.assign(record, { operation: "op-1", body: { host: "hosts/n1", stateReason: "it is being recovered" } });
  await pass(500);
  be(HostState.READY);
  await pass(10_000);
  expect(asked).toEqual([]);
  Object.assign(record, { operation: undefined, body: { host: "hosts/n1", stateReason: unrecovered } });
  await pass(20_000);
  expect(asked[0]).toBe("stranded-vm-1-20");
});

test.each([
  ["that is elsewhere", { body: { host: "hosts/n2", stateReason: unrecovered } }],
  ["that was made again", { uid: "vm-2" }],
  ["that has nothing to wait for", { body: { host: "hosts/n1", stateReason: "" } }],
])("one %s is looked at once", async (_what, change) => {
  const { asked, record, reads, be, pass } = stage();
  Object.assign(record, change);
  await pass(500);
  be(HostState.READY);
  await pass(60_000);
  expect([asked, reads()]).toEqual([[], 1]);
});

test("of many only some are asked for at once, and the next ones soon after", async () => {
  const { asked, be, pass } = stage([], workload, 99);
  await pass(500);
  be(HostState.READY);
  await pass(500);
  expect(asked.length).toBeLessThan(32);
  await pass(10_000);
  expect(new Set(asked).size).toBe(100);
});

test("what is refused is not asked again", async () => {
  const { asked, be, pass } = stage([new StillpointError("VM_STATE", "it is deleting")]);
  await pass(500);
  be(HostState.READY);
  await pass(300_000);
  expect(asked).toHaveLength(1);
});

test("a host that goes down again is left to the recoveries, and looked at when it is back", async () => {
  const { asked, record, be, pass } = stage([new StillpointError("TARGET_BUSY", "it is busy")]);
  await pass(500);
  be(HostState.READY);
  await pass(500);
  be(HostState.DOWN);
  await pass(300_000);
  expect(asked).toHaveLength(1);
  record.version = 30;
  be(HostState.READY);
  await pass(500);
  expect(asked.at(-1)).toBe("stranded-vm-1-30");
});

test("another replica's hosts are its own to look at; what is pointed out is looked at in any case", async () => {
  const { asked, stranded, own, be, pass } = stage([], "projects/default/containers/db");
  own(false);
  await pass(500);
  be(HostState.READY);
  await pass(10_000);
  expect(asked).toEqual([]);
  for (let i = 0; i < 2; i++) {
    stranded.suspect({ workload: "projects/default/containers/db", uid: "vm-1", host: "hosts/n1" });
    await pass(500);
  }
  expect(asked).toEqual(["container-stranded-vm-1-20"]);
});
