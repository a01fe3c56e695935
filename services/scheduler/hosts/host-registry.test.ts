import { expect, test } from "vitest";
import { HostState } from "#contracts/scheduler/v1/scheduler";
import { decodeRecord } from "#libs/records";
import { heartbeat, reservation } from "../testing/hosts.ts";
import { type MemoryScheduler, startMemoryScheduler } from "../testing/memory-scheduler.ts";

const stateOf = ({ records }: MemoryScheduler, name: string) => records.hosts.get(`hosts/${name}`)?.body.state;

const lastEvents = async ({ log }: MemoryScheduler, name: string) => {
  const message = await log.read(`rec.hosts.${name}`);
  return message === undefined ? [] : decodeRecord(message.data).events.map(({ happened }) => happened);
};

test("the first heartbeat makes a host, with capacity after overcommit and the reserved part", async () => {
  await using scheduler = await startMemoryScheduler();
  await scheduler.registry.heard(heartbeat("a"));
  expect(scheduler.records.hosts.get("hosts/a")?.body).toMatchObject({
    state: HostState.READY,
    uid: "host-a",
    capacity: { cpus: 16, memoryBytes: 16 * 2 ** 30 },
  });
  expect(await lastEvents(scheduler, "a")).toEqual(["ready"]);
});

test("a heartbeat that says nothing new writes nothing", async () => {
  await using scheduler = await startMemoryScheduler();
  await scheduler.registry.heard(heartbeat("a"));
  const before = await scheduler.log.lastSequence();
  await scheduler.registry.heard(heartbeat("a", { time: new Date(), workloads: ["vm-1"] }));
  expect(await scheduler.log.lastSequence()).toBe(before);
  await scheduler.registry.heard(heartbeat("a", { capabilities: ["qemu", "docker"] }));
  expect(await lastEvents(scheduler, "a")).toEqual(["inventory_changed"]);
});

test("a host that falls silent is down, once, and comes back with its next heartbeat", async () => {
  await using scheduler = await startMemoryScheduler();
  await scheduler.registry.heard(heartbeat("a"));
  await scheduler.pass(9_900);
  expect(scheduler.records.hosts.get("hosts/a")?.body).toMatchObject({ state: HostState.READY, suspected: true });
  await scheduler.pass(100);
  expect(stateOf(scheduler, "a")).toBe(HostState.DOWN);
  expect(await lastEvents(scheduler, "a")).toEqual(["down"]);
  const before = await scheduler.log.lastSequence();
  await scheduler.registry.sweep();
  expect(await scheduler.log.lastSequence()).toBe(before);
  expect(await scheduler.registry.heard(heartbeat("a"))).toBe(true);
  expect(stateOf(scheduler, "a")).toBe(HostState.READY);
  expect(await lastEvents(scheduler, "a")).toEqual(["ready"]);
});

test("a suspected host that is heard again is so without an event", async () => {
  await using scheduler = await startMemoryScheduler();
  await scheduler.registry.heard(heartbeat("a"));
  await scheduler.pass(8_000);
  expect(scheduler.records.hosts.get("hosts/a")?.body.suspected).toBe(true);
  await expect(scheduler.placements.place(reservation("vm-1"))).rejects.toMatchObject({ reason: "NO_HOST_FITS" });
  expect(await scheduler.registry.heard(heartbeat("a"))).toBe(true);
  expect(scheduler.records.hosts.get("hosts/a")?.body.suspected).toBe(false);
  expect(await lastEvents(scheduler, "a")).toEqual([]);
});

test("a process that slept does not take its own silence for that of the hosts", async () => {
  await using scheduler = await startMemoryScheduler();
  await scheduler.registry.heard(heartbeat("a"));
  scheduler.advance(60_000);
  await scheduler.pass(4_900);
  expect(scheduler.records.hosts.get("hosts/a")?.body.suspected).toBe(false);
});

test("a second agent under a living host's name changes nothing; once that host is down it takes its place", async () => {
  await using scheduler = await startMemoryScheduler();
  await scheduler.registry.heard(heartbeat("a"));
  await scheduler.registry.heard(heartbeat("a", { hostUid: "host-other" }));
  expect(scheduler.records.hosts.get("hosts/a")?.uid).toBe("host-a");
  await scheduler.pass(10_000);
  expect(stateOf(scheduler, "a")).toBe(HostState.DOWN);
  await scheduler.registry.heard(heartbeat("a", { hostUid: "host-other" }));
  expect(scheduler.records.hosts.get("hosts/a")?.uid).toBe("host-other");
});

test("a name that is not one is refused", async () => {
  await using scheduler = await startMemoryScheduler();
  await expect(scheduler.registry.heard(heartbeat("a", { host: "hosts/A*" }))).rejects.toMatchObject({
    reason: "NAME_INVALID",
  });
});

test("what was heard of a host that is no more is forgotten", async () => {
  await using scheduler = await startMemoryScheduler();
  await scheduler.registry.heard(heartbeat("a"));
  const stored = await scheduler.hosts.get("hosts/a");
  if (stored !== undefined) await scheduler.hosts.remove(stored);
  expect(scheduler.registry.heartbeatTime("hosts/a")).toBeInstanceOf(Date);
  await scheduler.pass(10_250);
  expect(scheduler.registry.heartbeatTime("hosts/a")).toBeUndefined();
});

test("while hosts fail by the dozen what is done about it waits, and no longer", async () => {
  await using scheduler = await startMemoryScheduler();
  const names = Array.from({ length: 40 }, (_, index) => `n${index}`);
  for (const name of names) await scheduler.registry.heard(heartbeat(name));
  await scheduler.pass(9_900);
  expect(scheduler.registry.isMarkingMany).toBe(false);
  await scheduler.pass(100);
  expect(new Set(names.map((name) => stateOf(scheduler, name)))).toEqual(new Set([HostState.DOWN]));
  expect(scheduler.registry.isMarkingMany).toBe(true);
  await scheduler.pass(1_000);
  expect(scheduler.registry.isMarkingMany).toBe(false);
});
