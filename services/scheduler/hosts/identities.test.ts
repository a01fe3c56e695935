import { expect, test } from "vitest";
import { HostState } from "#contracts/scheduler/v1/scheduler";
import { heartbeat } from "../testing/hosts.ts";
import { Identities, type Recorded } from "./identities.ts";

const ready = (bootId: string): Recorded => ({ uid: "host-a", bootId, state: HostState.READY });

const at = (nowMs: number) => ({ nowMs, sinceMs: 0 });

/** Agents of one host that beat at times in seconds: "a@2" is boot a at 2 s. Gives what is thought of each. */
function hear(beats: string, recorded: Recorded | undefined, sequences: Record<string, number> = {}): string[] {
  const identities = new Identities({ downAfterMs: 10_000 });
  const counts: Record<string, number> = { ...sequences };
  return beats.split(" ").map((beat) => {
    const [bootId = "", seconds] = beat.split("@");
    const sequence = (counts[bootId] ?? 0) + 1;
    counts[bootId] = sequence;
    return identities.judge(heartbeat("a", { bootId, sequence }), recorded, at(Number(seconds) * 1_000));
  });
}

test.each([
  ["the first one is believed", undefined, "a@0 a@2 a@4", "believed believed believed"],
  [
    "one that was started anew waits until the one before is surely gone",
    ready("a"),
    "a@2 b@5 b@7 b@9",
    "believed waiting believed believed",
  ],
  [
    "of two that are both heard the first stays",
    ready("a"),
    "a@2 b@3 a@4 b@5 a@6 b@7",
    "believed waiting believed twin believed twin",
  ],
  [
    "a twin stays one though the first is silent, until the host is down",
    ready("a"),
    "a@2 b@3 a@4 b@5 b@13",
    "believed waiting believed twin twin",
  ],
  ["a new replica knows from the record who was first", ready("a"), "b@1 a@2 b@3", "waiting believed twin"],
  [
    "an agent that was started anew beside a new replica is believed in time",
    ready("a"),
    "b@1 b@3 b@5",
    "waiting waiting believed",
  ],
  [
    "of a host that is down whoever comes first is believed",
    { ...ready("a"), state: HostState.DOWN },
    "b@1 a@2 b@3",
    "believed waiting believed",
  ],
])("%s", (_what, recorded, beats, standings) => {
  expect(hear(beats, recorded)).toEqual(standings.split(" "));
});

test("another data folder under a living name gets no answer, and is told as long as it is heard", () => {
  const identities = new Identities({ downAfterMs: 10_000 });
  const other = heartbeat("a", { hostUid: "host-other", bootId: "x", sequence: 1 });
  expect(identities.judge(other, ready(""), at(1_000))).toBe("twin");
  expect(identities.twinOf("hosts/a", 2_000)).toContain("host-other");
  expect(identities.twinOf("hosts/a", 11_000)).toBeUndefined();
  expect(identities.judge(other, { ...ready(""), state: HostState.DOWN }, at(12_000))).toBe("believed");
});

test("one heartbeat out of order is passed over; several are two processes with one memory", () => {
  const identities = new Identities({ downAfterMs: 10_000 });
  const judge = (sequence: number, atMs: number) =>
    identities.judge(heartbeat("a", { bootId: "a", sequence }), ready("a"), at(atMs));
  expect([judge(7, 0), judge(6, 1), judge(8, 2_000)]).toEqual(["believed", "repeated", "believed"]);
  expect(identities.twinOf("hosts/a", 2_000)).toBeUndefined();
  expect([judge(3, 2_100), judge(9, 4_000), judge(4, 4_100), judge(10, 6_000)].slice(0, 3)).toEqual([
    "repeated",
    "believed",
    "twin",
  ]);
  expect(identities.twinOf("hosts/a", 6_000)).toContain("start a");
});

test("what was heard before the host was listened to again counts no more", () => {
  const identities = new Identities({ downAfterMs: 10_000 });
  const from = (bootId: string) => heartbeat("a", { bootId, sequence: 1 });
  expect(identities.judge(from("a"), ready("a"), at(0))).toBe("believed");
  expect(identities.judge(from("b"), ready("a"), { nowMs: 60_000, sinceMs: 59_000 })).toBe("waiting");
  expect(
    identities.judge(heartbeat("a", { bootId: "a", sequence: 9 }), ready("a"), { nowMs: 61_000, sinceMs: 59_000 }),
  ).toBe("believed");
});
