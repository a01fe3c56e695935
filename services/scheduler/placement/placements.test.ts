import { expect, test } from "vitest";
import { silentLogger } from "#libs/logger";
import type { Json, StoredRecord } from "#libs/records";
import { gib, heartbeat, reservation } from "../testing/hosts.ts";
import { type MemoryScheduler, startMemoryScheduler } from "../testing/memory-scheduler.ts";
import { Reconciler } from "./reconciler.ts";

const heldOn = ({ records }: MemoryScheduler, name: string) =>
  records.ledgers.get(`hosts/${name}/ledger`)?.body.reservations.map(({ uid }) => uid) ?? [];

async function withHosts(...names: string[]): Promise<MemoryScheduler> {
  const scheduler = await startMemoryScheduler();
  for (const name of names) await scheduler.registry.heard(heartbeat(name));
  return scheduler;
}

test("a placement asked for again has the same answer and takes nothing more", async () => {
  await using scheduler = await withHosts("a", "b");
  const wanted = reservation("vm-1", { cpuMillis: 10_000 });
  const [first, second] = await Promise.all([scheduler.placements.place(wanted), scheduler.placements.place(wanted)]);
  expect(first.host).toBe("hosts/a");
  expect(second.host).toBe("hosts/a");
  expect(heldOn(scheduler, "a")).toEqual(["vm-1"]);
});

test("what is to leave its host is not told again that it is there, nor keeps its place there", async () => {
  await using scheduler = await withHosts("a", "b");
  const wanted = reservation("vm-1");
  await scheduler.placements.place(wanted);
  const requirements = { ...wanted.requirements, notHosts: ["hosts/a"] };
  expect((await scheduler.placements.place({ ...wanted, requirements })).host).toBe("hosts/b");
  expect(heldOn(scheduler, "a")).toEqual([]);
});

test("what another worker of the same operation has brought to a host keeps its place there", async () => {
  await using scheduler = await withHosts("a", "b");
  const wanted = reservation("vm-1");
  await scheduler.placements.place(wanted);
  // Read after that: it seems to be what the operation began on.
  const requirements = { ...wanted.requirements, notHost: "hosts/a" };
  const late = scheduler.placements.place({ ...wanted, requirements });
  await expect(late).rejects.toMatchObject({ reason: "EPOCH_STALE" });
  expect([heldOn(scheduler, "a"), heldOn(scheduler, "b")]).toEqual([["vm-1"], []]);
});

test("what does not fit on one host any more goes to the next", async () => {
  await using scheduler = await withHosts("a", "b");
  const hosts = await Promise.all(
    ["vm-1", "vm-2", "vm-3"].map((uid) => scheduler.placements.place(reservation(uid, { cpuMillis: 8_000 }))),
  );
  expect(hosts.map(({ host }) => host)).toEqual(["hosts/a", "hosts/a", "hosts/b"]);
});

test("a replica that finds a reservation on two hosts gives the one that had it first", async () => {
  await using scheduler = await withHosts("a", "b");
  const wanted = reservation("vm-1");
  await scheduler.placements.place(wanted);
  // Another replica that did not know of it has taken it, too, and has died before it gave it back.
  const reservations = [...(scheduler.records.ledgers.get("hosts/a/ledger")?.body.reservations ?? [])];
  const body = { name: "hosts/b/ledger", reservations };
  const { version } = await scheduler.ledgers.create("hosts/b/ledger", { uid: "host-b", body });
  await scheduler.records.ledgers.waitFor(version);
  // Which ledger was written last says nothing.
  await scheduler.placements.place(reservation("vm-2", { host: "hosts/a" }));
  const later = await scheduler.another();
  expect((await later.place(wanted)).host).toBe("hosts/a");
  expect((await scheduler.placements.place(wanted)).host).toBe("hosts/a");
});

test("two replicas at once never over-commit", async () => {
  await using scheduler = await withHosts("a", "b");
  const { placements } = scheduler;
  const other = await scheduler.another();
  const answers = await Promise.allSettled(
    Array.from({ length: 12 }, (_, i) =>
      (i % 2 === 0 ? placements : other).place(reservation(`vm-${i}`, { cpuMillis: 4_000 })),
    ),
  );
  expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(8);
  expect(heldOn(scheduler, "a")).toHaveLength(4);
  expect(heldOn(scheduler, "b")).toHaveLength(4);
});

test("a placement that fails says why for each host", async () => {
  await using scheduler = await withHosts("a", "b");
  await scheduler.placements.place(reservation("vm-1", { memoryBytes: 15 * gib }));
  const error = scheduler.placements.place(reservation("vm-2", { memoryBytes: 17 * gib }));
  await expect(error).rejects.toMatchObject({
    reason: "NO_HOST_FITS",
    message:
      "no host fits projects/default/vms/vm-2: hosts/a: memory: needs 17 GiB, 1 GiB of 16 GiB free; " +
      "hosts/b: memory: needs 17 GiB, 16 GiB of 16 GiB free; " +
      "nearest: hosts/b would take it with 16 GiB of memory instead of 17 GiB",
    metadata: { "hosts/a": "memory: needs 17 GiB, 1 GiB of 16 GiB free" },
  });
});

test("release gives everything of a workload back, once", async () => {
  await using scheduler = await withHosts("a");
  await scheduler.placements.place(reservation("vm-1", { hostPorts: [80] }));
  await scheduler.placements.place(reservation("vm-2"));
  await scheduler.placements.release({ uid: "vm-1", epoch: 0 });
  expect(heldOn(scheduler, "a")).toEqual(["vm-2"]);
  const before = await scheduler.log.lastSequence();
  await scheduler.placements.release({ uid: "vm-1", epoch: 0 });
  expect(await scheduler.log.lastSequence()).toBe(before);
  await scheduler.placements.place(reservation("vm-3", { hostPorts: [80] }));
});

test("the reconciler gives back what neither an operation nor a workload needs", async () => {
  await using scheduler = await withHosts("a");
  for (const uid of ["lives", "left", "in-work", "gone", "made-again", "elsewhere"]) {
    await scheduler.placements.place(reservation(uid));
  }
  const unrecovered: unknown[] = [];
  const stateReason = "hosts/a is down, and it is not recovered: NO_HOST_FITS: no host fits";
  const workloads = new Map<string, Partial<StoredRecord<Json>>>([
    ["projects/default/vms/lives", { uid: "lives", body: { host: "hosts/a" } }],
    ["projects/default/vms/left", { uid: "left", body: { host: "hosts/a", stateReason } }],
    ["projects/default/vms/made-again", { uid: "another", body: { host: "hosts/a" } }],
    ["projects/default/vms/elsewhere", { uid: "elsewhere", body: { host: "hosts/b" } }],
  ]);
  const read = (name: string) => workloads.get(name) as StoredRecord<Json> | undefined;
  const reconciler = new Reconciler({
    ...scheduler,
    owns: () => true,
    logger: silentLogger,
    isUnfinished: async (operation) => operation === "operations/in-work",
    readWorkload: async (name) => read(name),
    unrecovered: (suspect) => unrecovered.push(suspect),
  });
  expect(await reconciler.round()).toBe(3);
  expect(heldOn(scheduler, "a")).toEqual(["lives", "left", "in-work"]);
  expect(unrecovered).toEqual([{ workload: "projects/default/vms/left", uid: "left", host: "hosts/a" }]);
});
