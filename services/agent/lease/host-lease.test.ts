import { expect, onTestFinished, test } from "vitest";
import { silentLogger } from "#libs/logger";
import { HostLease, type LeaseFence } from "./host-lease.ts";
import { Lease } from "./lease.ts";

const holder = { hostUid: "host-1", bootId: "boot-1" };
const vm = { uid: "vm-1", name: "projects/default/vms/db" };
const signal = new AbortController().signal;
const noFence: LeaseFence = {
  ...{ listen: () => undefined, list: () => [], find: () => undefined, renew: () => undefined, deadlineMs: 0 },
  ...{ resume: () => undefined, isSilent: () => false, holdByForce: () => undefined, close: () => undefined },
};

/** A host without paused workloads, whose time stands still, and whose owner answers when it is told to. */
function startHost() {
  const time = { nowMs: 10_000 };
  const patience: (() => void)[] = [];
  const lease = new HostLease({
    lease: new Lease(holder, 0),
    fence: noFence,
    clock: () => time.nowMs,
    timer: {
      sleep: (_ms, over) =>
        new Promise((resolve, reject) => {
          patience.push(resolve);
          over?.addEventListener("abort", () => reject(over.reason as Error));
        }),
    },
    saveEpoch: async () => undefined,
    workloads: {
      ...{ paused: () => undefined, resumed: async () => undefined, gone: () => undefined },
      ...{ leaveBehind: async () => undefined, leftBehind: async () => [] },
      describe: async (uids) => uids.map((uid) => ({ uid, workload: vm.name, epoch: 1 })),
    },
    logger: silentLogger,
  });
  onTestFinished(() => lease.close());
  let sequence = 0;
  /** Sends a heartbeat, and has it answered. Gives the uids that it names. */
  const beat = async (resumeUids: readonly string[] = [], endUids: readonly string[] = []) => {
    const { held } = await lease.report();
    lease.sending(++sequence, held);
    const words = { resumeUids: [...resumeUids], endUids: [...endUids] };
    await lease.hear({ ...holder, sequence, epoch: 5, ttlMs: 6_000, ...words });
    return held.map(({ uid }) => uid);
  };
  const loseThePatience = () => {
    for (const end of patience) end();
  };
  return { lease, time, beat, loseThePatience };
}

test("without a lease nothing is started, and nothing is waited for", async () => {
  const { lease, beat } = startHost();
  await expect(lease.confirm(vm, signal)).rejects.toMatchObject({ reason: "LEASE_EXPIRED" });
  expect(await beat()).toEqual([]);
});

test("a start has itself named in the next heartbeat, waits for the word, and needs no other while the lease lasts", async () => {
  const { lease, time, beat } = startHost();
  await beat();
  expect(() => lease.require(vm)).toThrow(expect.objectContaining({ reason: "START_UNCONFIRMED" }));
  const { asks } = lease;
  const starting = [lease.confirm(vm, signal), lease.confirm(vm, signal)];
  await asks;
  expect(await beat([vm.uid])).toEqual([vm.uid]);
  await Promise.all(starting);
  lease.require(vm);
  time.nowMs += 5_000;
  expect(await beat()).toEqual([]);
  time.nowMs += 5_000;
  await lease.confirm(vm, signal);

  time.nowMs += 1_000;
  await expect(lease.confirm(vm, signal)).rejects.toMatchObject({ reason: "LEASE_EXPIRED" });
  await beat();
  expect(lease.may(vm.uid)).toBe(false);
});

test("a start is refused when no word comes, and when its step is to make room", async () => {
  const { lease, beat, loseThePatience } = startHost();
  await beat();
  const starting = lease.confirm(vm, signal);
  expect(await beat([], [vm.uid])).toEqual([vm.uid]);
  loseThePatience();
  await expect(starting).rejects.toMatchObject({ reason: "START_UNCONFIRMED" });
  expect(await beat()).toEqual([]);
  const newer = new AbortController();
  const again = lease.confirm(vm, newer.signal);
  newer.abort(new Error("a newer claim waits"));
  await expect(again).rejects.toThrow("a newer claim waits");
});

test("what is made here while the lease lasts is started without a word, until it is interrupted", async () => {
  const { lease, time, beat } = startHost();
  await beat();
  lease.making(vm.uid);
  await lease.confirm(vm, signal);
  time.nowMs += 6_000;
  await beat();
  expect(() => lease.require(vm)).toThrow(expect.objectContaining({ reason: "START_UNCONFIRMED" }));
});
