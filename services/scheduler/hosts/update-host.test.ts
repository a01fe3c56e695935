import { expect, test } from "vitest";
import { UpdateHostRequest } from "#contracts/scheduler/v1/scheduler";
import { gib, heartbeat, reservation } from "../testing/hosts.ts";
import { type MemoryScheduler, startMemoryScheduler } from "../testing/memory-scheduler.ts";
import { updateHost } from "./update-host.ts";

const limits = { cpuOvercommit: 4, memoryReservedBytes: gib };

const update = ({ hosts: store, ledgers }: MemoryScheduler, asked: Partial<UpdateHostRequest>) =>
  updateHost({ store, ledgers, limits }, UpdateHostRequest.fromPartial({ name: "hosts/a", ...asked }));

test("what an operator says stays, whatever the agent says", async () => {
  await using scheduler = await startMemoryScheduler();
  const said = heartbeat("a", { zone: "z1", labels: { disk: "ssd" } });
  await scheduler.registry.heard(said);
  await update(scheduler, { zone: "z2", cpuOvercommit: 2, setLabels: { tier: "web" } });
  await scheduler.registry.heard({ ...said, capabilities: ["qemu", "docker"] });
  const host = await scheduler.hosts.get("hosts/a");
  expect(host?.body).toMatchObject({
    zone: "z2",
    labels: { disk: "ssd", tier: "web", zone: "z2" },
    capacity: { cpus: 8, memoryBytes: 16 * gib },
    capabilities: ["docker", "qemu"],
  });
  const reserved = { cpus: 1, cpuMillis: 0, memoryBytes: 0, diskBytes: 10 * gib };
  expect((await update(scheduler, { reserved, removeLabels: ["tier", "disk"] }))?.body).toMatchObject({
    labels: { disk: "ssd", zone: "z2" },
    capacity: { cpus: 6, memoryBytes: 17 * gib, diskBytes: 90 * gib },
  });
  await update(scheduler, { zone: "", cpuOvercommit: 0 });
  await scheduler.registry.heard(said);
  const after = await scheduler.hosts.get("hosts/a");
  expect(after?.body).toMatchObject({ zone: "z1", labels: { zone: "z1" }, capacity: { cpus: 12 } });
});

test("no less than workloads hold, but as little as there is already", async () => {
  await using scheduler = await startMemoryScheduler();
  await scheduler.registry.heard(heartbeat("a"));
  await scheduler.placements.place(reservation("vm-1", { cpuMillis: 6_000, memoryBytes: 10 * gib }));
  await expect(update(scheduler, { cpuOvercommit: 1 })).rejects.toMatchObject({
    reason: "CAPACITY_IN_USE",
    message: "hosts/a would have 4 cpus, and its workloads hold 6 cpus",
  });
  expect((await update(scheduler, { cpuOvercommit: 1.5 }))?.body.capacity?.cpus).toBe(6);
  await scheduler.registry.heard(heartbeat("a", { memoryBytes: 10 * gib }));
  const shrunk = await scheduler.hosts.get("hosts/a");
  expect(shrunk?.body.problems.map(({ reason }) => reason)).toEqual(["capacity.below_used"]);
  await expect(scheduler.placements.place(reservation("vm-2"))).rejects.toMatchObject({ reason: "NO_HOST_FITS" });
  expect((await update(scheduler, { zone: "z1" }))?.body.problems).toHaveLength(1);
  const nothing = { cpus: 0, cpuMillis: 0, memoryBytes: 0, diskBytes: 0 };
  expect((await update(scheduler, { reserved: nothing }))?.body.problems).toEqual([]);
});

test.each([
  [{ cpuOvercommit: 0.5 }, "cpu_overcommit must be 1 to 64"],
  [{ cpuOvercommit: Number.NaN }, "cpu_overcommit must be 1 to 64"],
  [{ zone: "z 1" }, "zone must be"],
  [{ setLabels: { zone: "z1" } }, "set the zone itself"],
  [{ setLabels: { disk: "hdd" } }, "may not change disk, which the host's agent says"],
  [{ reserved: { cpus: 0, cpuMillis: 0, memoryBytes: -1, diskBytes: 0 } }, "reserved.memory_bytes must be 0 or more"],
])("%j is refused", async (asked: Partial<UpdateHostRequest>, message) => {
  await using scheduler = await startMemoryScheduler();
  await scheduler.registry.heard(heartbeat("a", { labels: { disk: "ssd" } }));
  const refusal = expect(update(scheduler, asked)).rejects;
  await refusal.toMatchObject({ reason: "ARGUMENT_INVALID", message: expect.stringContaining(message) });
});

test("what is placed while capacity is taken is in view: either it is refused, or the taking is", async () => {
  await using scheduler = await startMemoryScheduler();
  const { hosts, ledgers, placements, records } = scheduler;
  await scheduler.registry.heard(heartbeat("a"));
  const before = (await hosts.get("hosts/a"))?.body;
  const take = (store: typeof hosts) =>
    updateHost({ store, ledgers, limits }, UpdateHostRequest.fromPartial({ name: "hosts/a", cpuOvercommit: 1 }));
  const late: typeof hosts = Object.create(hosts, {
    modify: {
      value: async (...asked: Parameters<typeof hosts.modify>) => {
        await placements.place(reservation("vm-1", { cpuMillis: 6_000 }));
        return await hosts.modify(...asked);
      },
    },
  });
  await expect(take(late)).rejects.toMatchObject({ reason: "CAPACITY_IN_USE" });
  const { zone, labels, capacity, cpuOvercommit, reserved } = (await hosts.get("hosts/a"))?.body ?? {};
  expect({ zone, labels, capacity, cpuOvercommit, reserved }).toEqual({
    ...{ zone: before?.zone, labels: before?.labels, capacity: before?.capacity },
    ...{ cpuOvercommit: before?.cpuOvercommit, reserved: before?.reserved },
  });
  await placements.release({ uid: "vm-1", epoch: 0 });
  const taken = await take(hosts);
  expect((await ledgers.get("hosts/a/ledger"))?.body.hostVersion).toBe(taken?.version);
  // One that has not heard of it waits until it has.
  const waited: number[] = [];
  const waitFor = records.hosts.waitFor.bind(records.hosts);
  records.hosts.waitFor = async (version: number) => {
    waited.push(version);
    await waitFor(version);
  };
  await expect(placements.place(reservation("vm-2", { cpuMillis: 6_000 }))).rejects.toMatchObject({
    reason: "NO_HOST_FITS",
  });
  await placements.place(reservation("vm-3", { cpuMillis: 1_000 }));
  expect(waited).toContain(taken?.version);
});
