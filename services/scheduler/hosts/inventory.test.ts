import { expect, test } from "vitest";
import type { Heartbeat } from "#contracts/host/v1/agent";
import { Host, HostState } from "#contracts/scheduler/v1/scheduler";
import { gib, heartbeat } from "../testing/hosts.ts";
import { capacityFor } from "./capacity.ts";
import { type Around, differs, eventsBetween, takeIn } from "./inventory.ts";
import { nonsenseIn } from "./nonsense.ts";

const limits = { cpuOvercommit: 4, memoryReservedBytes: gib };
const now = new Date("2026-11-23T12:00:00Z");
const around: Around = { now, used: { cpuMillis: 0, memoryBytes: 0, diskBytes: 0 }, twin: undefined };
const hoursAway = (hours: number) => ({ time: new Date(now.getTime() + hours * 3_600_000) });
const happened = (before: Host, after: Host) => eventsBetween(before, after).map((event) => event.happened);

test("what workloads may take is what there is, less what is kept back, and for CPUs times the ratio", () => {
  const total = { cpus: 4, cpuMillis: 4_000, memoryBytes: 16 * gib, diskBytes: 100 * gib };
  const reserved = { cpus: 1, cpuMillis: 0, memoryBytes: 2 * gib, diskBytes: 10 * gib };
  expect(capacityFor(total, { cpuOvercommit: 0, reserved: undefined }, limits)).toMatchObject({
    cpus: 16,
    memoryBytes: 15 * gib,
  });
  expect(capacityFor(total, { cpuOvercommit: 1.15, reserved }, limits)).toEqual({
    cpus: 3,
    cpuMillis: 3_450,
    memoryBytes: 14 * gib,
    diskBytes: 90 * gib,
  });
  const all = { ...reserved, memoryBytes: 99 * gib };
  expect(capacityFor(total, { cpuOvercommit: 1, reserved: all }, limits).memoryBytes).toBe(0);
  expect(capacityFor(undefined, { cpuOvercommit: 1, reserved }, limits)).toMatchObject({ cpuMillis: 0, diskBytes: 0 });
});

const nonsense: [string, Partial<Heartbeat>][] = [
  ["negative CPUs", { cpus: -4 }],
  ["no CPUs", { cpus: 0 }],
  ["CPUs that are no number", { cpus: Number.NaN }],
  ["too many CPUs", { cpus: 1e9 }],
  ["negative memory", { memoryBytes: -1 }],
  ["half a byte", { memoryBytes: 0.5 }],
  ["more memory than there is in the world", { memoryBytes: 2 ** 53 }],
  ["no disk", { diskBytes: 0 }],
  ["a disk without end", { diskBytes: Number.POSITIVE_INFINITY }],
  ["a label that is none", { labels: { "A b": "c" } }],
  ["a zone that is none", { zone: "z 1" }],
  ["an address that is none", { agentAddress: "somewhere" }],
  ["capabilities without end", { capabilities: Array.from({ length: 300 }, (_, index) => `c${index}`) }],
];

test.each(nonsense)("%s is nonsense, passed over and said once", (_what, differing) => {
  const known = takeIn(heartbeat("a"), undefined, around, limits);
  const after = takeIn(heartbeat("a", differing), known, around, limits);
  const problems = [{ reason: "inventory.nonsense", detail: expect.stringMatching(/^\w+ (must|has)/) }];
  expect(after).toEqual({ ...known, problems });
  expect(happened(known, after)).toEqual(["problem_found"]);
  expect(differs(after, takeIn(heartbeat("a", differing), after, around, limits))).toBe(false);
  expect(happened(after, takeIn(heartbeat("a"), after, around, limits))).toEqual(["problem_solved"]);
});

test("a host that begins with nonsense has nothing to give", () => {
  const host = takeIn(heartbeat("a", { cpus: -1 }), undefined, around, limits);
  expect(host).toMatchObject({ name: "hosts/a", uid: "host-a", state: HostState.READY, capacity: undefined });
  expect(nonsenseIn(heartbeat("a"))).toBeUndefined();
});

test("a certificate that expires soon is told of, until it is renewed", () => {
  const days = (count: number) => ({ certificateExpireTime: new Date(around.now.getTime() + count * 86_400_000) });
  const known = takeIn(heartbeat("a", days(15)), undefined, around, limits);
  expect(known.problems).toEqual([]);
  const [problem, ...others] = takeIn(heartbeat("a", days(13)), known, around, limits).problems;
  expect(others).toEqual([]);
  expect(problem?.reason).toBe("certificate.expires");
  expect(problem?.detail).toMatch(/^its certificate is valid until \d{4}-\d\d-\d\d only/);
});

test("a clock hours away changes nothing but that it is said, once", () => {
  const known = takeIn(heartbeat("a", hoursAway(0)), undefined, around, limits);
  const after = takeIn(heartbeat("a", hoursAway(-5)), known, around, limits);
  expect(after).toEqual({
    ...known,
    problems: [{ reason: "clock.skewed", detail: "its clock is 5 hours behind the scheduler's" }],
  });
  expect(differs(after, takeIn(heartbeat("a", hoursAway(7)), after, around, limits))).toBe(false);
  expect(takeIn(heartbeat("a", hoursAway(0.01)), after, around, limits).problems).toHaveLength(1);
  expect(takeIn(heartbeat("a", hoursAway(0.001)), after, around, limits).problems).toEqual([]);
  expect(takeIn(heartbeat("a", hoursAway(0.01)), known, around, limits).problems).toEqual([]);
});

test("capacity below what is held is taken as it is, and said once", () => {
  const used = { cpuMillis: 1_000, memoryBytes: 10 * gib, diskBytes: 0 };
  const known = takeIn(heartbeat("a"), undefined, { ...around, used }, limits);
  expect(known.problems).toEqual([]);
  const shrunk = heartbeat("a", { memoryBytes: 9 * gib });
  const after = takeIn(shrunk, known, { ...around, used }, limits);
  expect(after.capacity?.memoryBytes).toBe(8 * gib);
  expect(after.problems).toEqual([
    { reason: "capacity.below_used", detail: expect.stringContaining("hold 10 GiB of memory of 8 GiB") },
  ]);
  expect(happened(known, after)).toEqual(["inventory_changed", "problem_found"]);
  expect(differs(after, takeIn(shrunk, after, { ...around, used }, limits))).toBe(false);
});

test("a zone is a label too, whoever says it; an operator's word counts more, an agent's labels more than his", () => {
  const said = (differing: Partial<Heartbeat>, operator: Partial<Host> = {}) => {
    const { zone, labels } = takeIn(heartbeat("a", differing), Host.fromPartial(operator), around, limits);
    return { zone, labels };
  };
  expect(said({ zone: "z1", labels: { disk: "ssd" } })).toEqual({ zone: "z1", labels: { zone: "z1", disk: "ssd" } });
  expect(said({ labels: { zone: "z2" } })).toEqual({ zone: "z2", labels: { zone: "z2" } });
  expect(said({ zone: "z1" }, { operatorZone: "z3" })).toEqual({ zone: "z3", labels: { zone: "z3" } });
  expect(said({ labels: { a: "1" } }, { operatorLabels: { a: "2", b: "3" } }).labels).toEqual({ a: "1", b: "3" });
  expect(said({})).toEqual({ zone: "", labels: {} });
});

test("a new start of the agent is an event", () => {
  const known = takeIn(heartbeat("a", { bootId: "x" }), undefined, around, limits);
  expect(happened(known, takeIn(heartbeat("a", { bootId: "y" }), known, around, limits))).toEqual(["agent_restarted"]);
});
