import fc from "fast-check";
import { expect, test } from "vitest";
import type { HeartbeatAck } from "#contracts/host/v1/agent";
import { type Heard, Lease } from "./lease.ts";

const holder = { hostUid: "host-1", bootId: "boot-1" };
const ack = (change: Partial<HeartbeatAck> = {}): HeartbeatAck => {
  const words = { resumeUids: [], endUids: [] };
  return { ...holder, sequence: 1, epoch: 5, ttlMs: 6_000, ...words, ...change };
};
const held = (...uids: string[]) => new Map(uids.map((uid) => [uid, 900]));

/** Hears an answer as the host does. */
function hear(lease: Lease, answer: HeartbeatAck, nowMs: number): Heard {
  const heard = lease.hear(answer, nowMs);
  if (!("refused" in heard)) lease.take(heard, answer.sequence, nowMs);
  return heard;
}

test("the lease counts from the sending of the heartbeat, not from its answer", () => {
  const lease = new Lease(holder, 0);
  expect(lease.isValid(0)).toBe(false);
  lease.sending(1, 1_000, held());
  hear(lease, ack(), 4_000);
  expect([lease.deadlineMs, lease.isValid(6_999), lease.isValid(7_000)]).toEqual([7_000, true, false]);
});

test.each([
  ["another host", { hostUid: "host-2" }, "host"],
  ["another life of the agent", { bootId: "boot-0" }, "boot"],
  ["a heartbeat that was not sent", { sequence: 2 }, "sequence"],
  ["an owner that was followed by another", { epoch: 4 }, "epoch"],
  ["an owner that grants nothing", { ttlMs: 0 }, "ttl"],
] as const)("an answer to or of %s means nothing", (_who, change, refused) => {
  const lease = new Lease(holder, 5);
  lease.sending(1, 1_000, held());
  expect(hear(lease, ack(change), 1_100)).toEqual({ refused });
  expect(lease.isValid(1_100)).toBe(false);
});

test("a word counts for the very pause that the heartbeat told of, while its lease lasts, and in order", () => {
  const lease = new Lease(holder, 0);
  lease.sending(1, 1_000, held("a", "b"));
  lease.sending(2, 3_000, held("a", "b"));
  const words = { resumeUids: ["a", "c"], endUids: ["b", "d"] };
  expect(lease.hear(ack(words), 1_500)).toMatchObject({ resume: held("a"), end: ["b"] });
  expect(lease.hear(ack(words), 7_000)).toMatchObject({ resume: new Map(), end: [] });
  hear(lease, ack({ ...words, sequence: 2 }), 3_100);
  expect(lease.hear(ack(words), 3_200)).toMatchObject({ resume: new Map(), end: [] });
});

test("a workload is started only when the owner has named it, or it was made, since the lease was last interrupted", () => {
  const lease = new Lease(holder, 0);
  const may = (uid: string, nowMs: number) => lease.mayStart(uid, nowMs);
  lease.making("made", 900);
  expect(may("made", 900)).toBe(false);
  lease.sending(1, 1_000, new Map([["a", undefined]]));
  hear(lease, ack({ resumeUids: ["a", "b"] }), 1_100);
  lease.making("made", 1_200);
  expect(["a", "b", "made"].map((uid) => may(uid, 6_999))).toEqual([true, false, true]);
  expect(may("a", 7_000)).toBe(false);
  lease.sending(2, 6_900, held());
  hear(lease, ack({ sequence: 2 }), 6_950);
  expect(may("a", 12_000)).toBe(true);
  lease.deleting("made");
  expect(may("made", 12_000)).toBe(false);

  lease.sending(3, 13_000, held());
  hear(lease, ack({ sequence: 3 }), 13_100);
  expect([lease.isValid(13_100), may("a", 13_100)]).toEqual([true, false]);
  lease.sending(4, 15_000, new Map([["a", undefined]]));
  hear(lease, ack({ sequence: 4, resumeUids: ["a"] }), 15_100);
  expect(may("a", 15_100)).toBe(true);
});

test("nothing is ended of what waits to be started", () => {
  const lease = new Lease(holder, 0);
  lease.sending(1, 1_000, new Map([...held("paused"), ["off", undefined]]));
  expect(lease.hear(ack({ endUids: ["paused", "off"] }), 1_100)).toMatchObject({ end: ["paused"] });
});

/** Owners hear a heartbeat after it was sent, and their answers come late, twice, in any order, or from the wrong one. */
const answers = fc.array(
  fc.record({
    sequence: fc.integer({ min: 1, max: 12 }),
    epoch: fc.integer({ min: 1, max: 6 }),
    ttlMs: fc.integer({ min: -100, max: 200_000 }),
    heardAfterMs: fc.integer({ min: 0, max: 5_000 }),
    onTheWayMs: fc.integer({ min: 0, max: 20_000 }),
    bootId: fc.constantFrom("boot-1", "boot-1", "boot-1", "boot-0"),
    resumes: fc.boolean(),
  }),
  { maxLength: 40 },
);

function isWrong({ epoch, bootId, sequence }: { epoch: number; bootId: string; sequence: number }, seen: number) {
  return epoch < seen || bootId !== holder.bootId || sequence > 10;
}

type Answer = Parameters<typeof isWrong>[0] & { ttlMs: number; heardMs: number; comesMs: number; resumes: boolean };

/** Lets an answer come, and gives until when its owner lets the host be, if it was taken. */
function take(lease: Lease, { heardMs, comesMs, resumes, ...given }: Answer): number {
  const before = { deadlineMs: lease.deadlineMs, epoch: lease.epoch, mayStart: lease.mayStart("a", comesMs) };
  const heard = hear(lease, ack({ ...given, resumeUids: resumes ? ["a"] : [] }), comesMs);
  expect(lease.deadlineMs).toBeGreaterThanOrEqual(before.deadlineMs);
  if ("refused" in heard) {
    expect(lease.epoch).toBe(before.epoch);
    return Number.NEGATIVE_INFINITY;
  }
  expect(isWrong(given, before.epoch)).toBe(false);
  expect(lease.epoch).toBe(given.epoch);
  if (heard.resume.size > 0) expect(lease.isValid(comesMs)).toBe(true);
  // Named now, or before in the same lease.
  expect(lease.mayStart("a", comesMs)).toBe(heard.resume.size > 0 || before.mayStart);
  return heardMs + given.ttlMs;
}

test("whatever comes and when, the host never believes in a lease for longer than its owner counts it", () => {
  fc.assert(
    fc.property(answers, (drawn) => {
      const lease = new Lease(holder, 0);
      for (let sequence = 1; sequence <= 10; sequence++) lease.sending(sequence, sequence * 2_000, held("a"));
      const coming = drawn
        .map((one) => ({ ...one, heardMs: one.sequence * 2_000 + one.heardAfterMs }))
        .map((one) => ({ ...one, comesMs: one.heardMs + one.onTheWayMs }))
        .toSorted((one, other) => one.comesMs - other.comesMs);
      let granted = Number.NEGATIVE_INFINITY;
      for (const answer of coming) {
        granted = Math.max(granted, take(lease, answer));
        expect(lease.deadlineMs).toBeLessThanOrEqual(granted);
      }
    }),
    { seed: 5, numRuns: 2_000 },
  );
});
