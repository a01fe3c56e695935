import { expect, test } from "vitest";
import { Container } from "#contracts/container/v1/container";
import { Operation } from "#contracts/operation/v1/operation";
import { HostState } from "#contracts/scheduler/v1/scheduler";
import { Vm } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import type { JobContext } from "#libs/operations";
import { heartbeat, reservation } from "../testing/hosts.ts";
import { type MemoryScheduler, startMemoryScheduler } from "../testing/memory-scheduler.ts";
import { type DrainDeps, drainJob } from "./drain-job.ts";

type ProgressUpdate = Parameters<JobContext["progress"]>[0];

/** A drain of hosts/a, on which every workload runs; `stop` is asked to stop one. */
function drainOf(
  { records: known, hosts: store, ledgers }: MemoryScheduler,
  stop: (name: string) => Promise<void>,
  records = known,
) {
  const asked = async ({ name = "" }) => {
    await stop(name);
    return Operation.fromPartial({});
  };
  const noHost = () => Promise.reject(new StillpointError("NO_HOST_FITS", "no host fits"));
  const running = { host: "hosts/a", spec: { drain: "DRAIN_POLICY_MOVE" } };
  const deps: DrainDeps = {
    ...{ records, store, ledgers },
    vms: {
      getVm: async () => Vm.fromPartial({ ...running, spec: {}, state: "VM_STATE_RUNNING" } as Vm),
      stopVm: asked,
      moveVm: noHost,
    },
    containers: {
      getContainer: async () => Container.fromPartial({ ...running, state: "CONTAINER_STATE_RUNNING" } as Container),
      stopContainer: asked,
      moveContainer: noHost,
    },
    succeeded: async (operation) => operation,
    ended: async () => undefined,
  };
  const told: ProgressUpdate[] = [];
  const context = {
    ...{ operationId: "op-1", target: "hosts/a", input: {}, epoch: 1, principal: "local", outputs: {} },
    signal: new AbortController().signal,
    progress: (update: ProgressUpdate) => void told.push(update),
  } satisfies JobContext;
  return { told, run: async () => drainJob(deps).steps[0]?.run(context) };
}

async function startDraining(): Promise<MemoryScheduler> {
  const scheduler = await startMemoryScheduler();
  await scheduler.registry.heard(heartbeat("a"));
  await scheduler.placements.place(reservation("vm-1"));
  await scheduler.placements.place({ ...reservation("web"), workload: "projects/default/containers/web" });
  const draining = { draining: true, cordoned: true, state: HostState.DRAINING };
  const stored = await scheduler.hosts.modify("hosts/a", ({ body }) => ({ body: { ...body, ...draining } }));
  await scheduler.records.hosts.waitFor(stored?.version ?? 0);
  return scheduler;
}

test("with nowhere to go everything is stopped, and it is said why; what came late too", async () => {
  await using scheduler = await startDraining();
  const { told, run } = drainOf(scheduler, async (name) => {
    if (!name.endsWith("/vm-1")) return;
    await scheduler.ledgers.modify("hosts/a/ledger", ({ body }) => ({
      body: { ...body, reservations: [...body.reservations, reservation("late")] },
    }));
  });
  expect(await run()).toEqual({
    stopped: ["projects/default/containers/web", "projects/default/vms/late", "projects/default/vms/vm-1"],
    moved: [],
    notMoved: [{ workload: "projects/default/containers/web", why: "NO_HOST_FITS: no host fits" }],
  });
  expect(told.map(({ message }) => message)).toEqual([
    "1 of 2 are at rest",
    "2 of 2 are at rest",
    "3 of 3 are at rest",
  ]);
});

test("what runs on is told, and a host that was uncordoned is left", async () => {
  await using scheduler = await startDraining();
  const stubborn = drainOf(scheduler, () => Promise.reject(new StillpointError("STOP_TIMED_OUT", "it does not end")));
  await expect(stubborn.run()).rejects.toMatchObject({
    reason: "DRAIN_INCOMPLETE",
    message: expect.stringMatching(/^2 of 2 run on hosts\/a: .*web: STOP_TIMED_OUT: it does not end; /),
  });
  const stored = await scheduler.hosts.modify("hosts/a", ({ body }) => ({ body: { ...body, draining: false } }));
  await scheduler.records.hosts.waitFor(stored?.version ?? 0);
  const { run } = drainOf(scheduler, async () => undefined);
  await expect(run()).rejects.toMatchObject({ reason: "OPERATION_CANCELLED" });
});

test("one that the view has not heard of yet goes on", async () => {
  await using scheduler = await startDraining();
  const { records } = scheduler;
  const before = records.hosts.get("hosts/a");
  if (before === undefined) throw new Error("there is no host");
  const hosts = Object.assign(Object.create(records.hosts) as typeof records.hosts, {
    get: () => ({ ...before, body: { ...before.body, draining: false } }),
  });
  const { run } = drainOf(
    scheduler,
    async () => undefined,
    Object.assign(Object.create(records) as typeof records, { hosts }),
  );
  expect(await run()).toMatchObject({ stopped: ["projects/default/containers/web", "projects/default/vms/vm-1"] });
});
