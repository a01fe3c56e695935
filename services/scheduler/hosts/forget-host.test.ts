import { expect, test } from "vitest";
import { Container } from "#contracts/container/v1/container";
import { HostIdentity } from "#contracts/scheduler/v1/scheduler";
import { Vm } from "#contracts/vm/v1/vm";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { decodeRecord } from "#libs/records";
import { heartbeat, reservation } from "../testing/hosts.ts";
import { type MemoryScheduler, startMemoryScheduler } from "../testing/memory-scheduler.ts";
import { type ForgetDeps, forgetHost } from "./forget-host.ts";

const name = "hosts/a";

/** The services that own workloads: `lost` is what they were told. */
function parts(
  { hosts: store, ledgers, identities }: MemoryScheduler,
  mark: () => Promise<void> = async () => undefined,
) {
  const lost: string[] = [];
  const marked = async ({ name = "", uid = "", host = "" }) => {
    await mark();
    lost.push(`${name} ${uid} ${host}`);
  };
  const vms = { markVmLost: (asked: object) => marked(asked).then(() => Vm.fromPartial({})) };
  const containers = { markContainerLost: (asked: object) => marked(asked).then(() => Container.fromPartial({})) };
  const cutOff = async () => undefined;
  const deps: ForgetDeps = { store, ledgers, identities, vms, containers, cutOff, clock, random };
  return { lost, forget: (force = false) => forgetHost(deps, { name, force }) };
}

async function down(scheduler: MemoryScheduler): Promise<void> {
  await scheduler.pass(12_000);
  await expect.poll(() => scheduler.records.hosts.get(name)?.body.state).toBe("HOST_STATE_DOWN");
}

const lastEvents = async ({ log }: MemoryScheduler, subject: string) => {
  const message = await log.read(subject);
  return message === undefined ? [] : decodeRecord(message.data).events;
};

test("a host that left is forgotten, and refused until it joins anew", async () => {
  await using scheduler = await startMemoryScheduler();
  const { forget } = parts(scheduler);
  await expect(forget()).rejects.toMatchObject({ reason: "HOST_NOT_FOUND" });
  await scheduler.registry.heard(heartbeat("a"));
  await expect(forget()).rejects.toMatchObject({ reason: "HOST_NOT_DOWN" });
  await down(scheduler);
  await forget();
  expect(await lastEvents(scheduler, "rec.hosts.a")).toMatchObject([
    { happened: "forgotten", data: { uid: "host-a" } },
  ]);
  for (let beats = 0; beats < 3; beats++) expect(await scheduler.registry.heard(heartbeat("a"))).toBe(false);
  expect(await lastEvents(scheduler, "rec.hosts.a.identity")).toEqual([
    { aggregate: "host", happened: "refused", data: { uid: "host-a" } },
  ]);
  expect(await scheduler.hosts.get(name)).toBeUndefined();
  const joined = { name: `${name}/identity`, certificateFingerprint: "sha256:1" };
  const stored = await scheduler.identities.modify(`${name}/identity`, () => ({
    body: HostIdentity.fromPartial(joined),
  }));
  await scheduler.records.identities.waitFor(stored?.version ?? 0);
  expect(await scheduler.registry.heard(heartbeat("a"))).toBe(true);
});

test("of one that never joined by a token its data folder alone is refused; of one that did its name", async () => {
  await using scheduler = await startMemoryScheduler();
  const { forget } = parts(scheduler);
  await scheduler.registry.heard(heartbeat("a"));
  await down(scheduler);
  await forget();
  expect(await scheduler.registry.heard(heartbeat("a", { hostUid: "host-new" }))).toBe(true);
  await scheduler.identities.modify(`${name}/identity`, ({ body }) => ({
    body: { ...body, certificateFingerprint: "sha256:1" },
  }));
  await down(scheduler);
  await forget();
  expect(await scheduler.registry.heard(heartbeat("a", { hostUid: "host-newer" }))).toBe(false);
});

test("what is on it is lost only by force, and its owners are told", async () => {
  await using scheduler = await startMemoryScheduler();
  const { forget, lost } = parts(scheduler);
  await scheduler.registry.heard(heartbeat("a"));
  await scheduler.placements.place(reservation("vm-1"));
  await scheduler.placements.place({ ...reservation("ctr-1"), workload: "projects/default/containers/ctr-1" });
  await down(scheduler);
  await expect(forget()).rejects.toMatchObject({
    reason: "HOST_NOT_EMPTY",
    message: "hosts/a holds projects/default/vms/vm-1, projects/default/containers/ctr-1",
  });
  await forget(true);
  expect(lost).toEqual(["projects/default/vms/vm-1 vm-1 hosts/a", "projects/default/containers/ctr-1 ctr-1 hosts/a"]);
  expect((await scheduler.ledgers.get(`${name}/ledger`))?.body.reservations).toEqual([]);
});

test("one that comes back meanwhile, or whose workload is being saved, stays", async () => {
  await using scheduler = await startMemoryScheduler();
  await scheduler.registry.heard(heartbeat("a"));
  await scheduler.placements.place(reservation("vm-1"));
  await down(scheduler);
  const busy = parts(scheduler, () => Promise.reject(new StillpointError("TARGET_BUSY", "it is being recovered")));
  await expect(busy.forget(true)).rejects.toMatchObject({ reason: "TARGET_BUSY" });
  const back = async () => {
    await scheduler.hosts.modify(name, ({ body }) => ({ body: { ...body, state: "HOST_STATE_READY" } }));
  };
  await expect(parts(scheduler, back).forget(true)).rejects.toMatchObject({ reason: "HOST_NOT_DOWN" });
  const identity = await scheduler.identities.get(`${name}/identity`);
  expect(identity?.body.forgotten).toBe(false);
  await scheduler.records.identities.waitFor(identity?.version ?? 0);
  expect(await scheduler.registry.heard(heartbeat("a"))).toBe(true);
});
