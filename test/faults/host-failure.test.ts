import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Vm, VmSpec } from "#contracts/vm/v1/vm";
import { eventually, isLong } from "#libs/testing";
import { findQemus } from "../harness/qemu-process.ts";
import { diesAt } from "./dies-at.ts";
import { faultRuns } from "./fault-run.ts";
import { chosenMovePoints, chosenRecoverPoints, everyPoint } from "./host-kill-points.ts";
import { expectNoLateStart } from "./late-start.ts";
import { watchMost } from "./most-at-once.ts";
import { carryThrough, carryToEnd, untilAnswered } from "./patient-api.ts";
import { deleteVm, runInGuest } from "./stage.ts";
import { startTwoHosts, type TwoHosts } from "./two-hosts.ts";

const parent = "projects/default";
const name = `${parent}/vms/db`;
const whileMoved = "vm.move.push.before";
const whileRecovered = "vm.recover.bring.before";

describe("two hosts", () => {
  let hosts: TwoHosts;
  const run = faultRuns(() => hosts.cluster);
  beforeAll(async () => {
    hosts = await startTwoHosts({
      ...Object.fromEntries(everyPoint.map((at) => [at, "kill" as const])),
      "vm.move.apply.after": "throw",
      ...{ [whileMoved]: "delay:3000", [whileRecovered]: "delay:3000" },
    });
    const sizes = { cpus: 1, memoryBytes: 2 ** 28 };
    const spec = VmSpec.fromPartial({ image: "linux:guest", ...sizes, drain: "DRAIN_POLICY_MOVE" });
    await hosts.cluster.api.hosts.cordonHost({ name: "hosts/n2" });
    await carryThrough(hosts.cluster, (requestId) =>
      hosts.cluster.api.vms.createVm({ parent, vmId: "db", spec, start: true, requestId }),
    );
    await hosts.cluster.api.hosts.uncordonHost({ name: "hosts/n2" });
    await shell("echo data >/root/file; sync");
  }, 240_000);
  afterAll(async () => {
    await deleteVm(hosts.cluster, name).catch(() => undefined);
    await hosts[Symbol.asyncDispose]();
  });

  const get = () => untilAnswered(() => hosts.cluster.api.vms.getVm({ name }));
  const hostOf = ({ host }: Vm) => host.slice("hosts/".length);
  const other = (host: string) => (host === "n1" ? "n2" : "n1");
  const shell = (script: string) => runInGuest(hosts.cluster, name, "sh", "-c", script);
  const move = (requestId: string, stayStopped = false) =>
    hosts.cluster.api.vms.moveVm({ name, requestId, timeoutSeconds: 30, stayStopped });

  /** It is on that host, all of it, and nothing of it on the other one or on its way. */
  const expectOn = async (host: string, state = "VM_STATE_RUNNING") => {
    const { uid } = await get();
    await eventually(
      async () => {
        const vm = await get();
        const known = await hosts.cluster.api.hosts.listHosts({ withReservations: true });
        const held = Object.fromEntries(known.hosts.map((it) => [it.name, it.reservations.map((held) => held.uid)]));
        const { operations } = await hosts.cluster.api.operations.listOperations({ unfinishedOnly: true });
        expect({ host: vm.host, state: vm.state, held, operations: operations.length }).toEqual({
          ...{ host: `hosts/${host}`, state, operations: 0 },
          held: { [`hosts/${host}`]: [uid], [`hosts/${other(host)}`]: [] },
        });
        return true;
      },
      { deadlineMs: 20_000, everyMs: 200 },
    );
    expect(await findQemus(hosts.data(other(host)))).toEqual([]);
    const answer = await fetch(`${hosts.cluster.registryUrl}/v2/checkpoints/moves/${uid}/tags/list`);
    const { tags } = answer.status === 404 ? { tags: [] } : ((await answer.json()) as { tags: string[] | null });
    expect(tags ?? []).toEqual([]);
  };

  /** A person asks for its removal while an operation of our own holds it. */
  const refusesDeletion = async (point: string) => {
    await hosts.failpoints.untilFired(point, 60_000);
    const removal = untilAnswered(() => hosts.cluster.api.vms.deleteVm({ name, force: true, withCheckpoints: true }));
    const { operation } = await get();
    await expect(removal).rejects.toMatchObject({ reason: "TARGET_BUSY", metadata: { operation } });
  };

  test("F2: a drain moves a VM that asks for it, for all that its service dies: the same one, with its data, runs elsewhere", async () => {
    const before = await get();
    const at = { at: "vm.move.switch.after", victim: hosts.cluster.services.vm, who: "vm" };
    await hosts.failpoints.arm(whileMoved);
    const draining = diesAt({ run: run(), failpoints: hosts.failpoints, ...at }, () =>
      carryThrough(hosts.cluster, (requestId) => hosts.cluster.api.hosts.drainHost({ name: "hosts/n1", requestId })),
    );
    const [drained] = await Promise.all([draining, refusesDeletion(whileMoved)]);
    expect(drained.output).toMatchObject({ stopped: [], moved: [{ workload: name, to: "hosts/n2" }], notMoved: [] });
    await expectOn("n2");
    const { uid, spec } = await get();
    expect({ uid, spec }).toEqual({ uid: before.uid, spec: before.spec });
    expect(await shell("cat /root/file")).toBe("data\n");
    await hosts.cluster.api.hosts.uncordonHost({ name: "hosts/n1" });
  }, 120_000);

  test("F2: a move that fails is taken back: it runs where it was", async () => {
    await hosts.failpoints.arm("vm.move.apply.after");
    expect(await carryToEnd(hosts.cluster, move)).toMatchObject({ state: "OPERATION_STATE_FAILED" });
    await expectOn("n2");
    expect(await shell("cat /root/file")).toBe("data\n");
  }, 120_000);

  test.for(chosenMovePoints)("%s: a move and kill -9 at %s of the %s", { timeout: 120_000 }, async ([, at, who]) => {
    const from = hostOf(await get());
    const to = other(from);
    const death = { run: run(), at, who, ...hosts.victim(who, who === "target" ? to : from) };
    await diesAt(death, () => carryThrough(hosts.cluster, move));
    await expectOn(to);
    expect(await shell("cat /root/file")).toBe("data\n");
  });

  /** Gives what brings it back. */
  const killHost = async (host: string) => {
    const { revive } = await hosts.kill(host);
    run().fault("kill of a host", host);
    const startMs = performance.now();
    // A scheduler that has just begun waits for what the one before it may still have promised.
    await eventually(async () => (await hostNamed(host))?.state === "HOST_STATE_DOWN", { deadlineMs: 40_000 });
    return { downMs: performance.now() - startMs, revive };
  };
  const hostNamed = async (host: string) =>
    (await untilAnswered(() => hosts.cluster.api.hosts.listHosts({}))).hosts.find((it) => it.name === `hosts/${host}`);
  const untilReady = (host: string) =>
    eventually(async () => (await hostNamed(host))?.state === "HOST_STATE_READY", { deadlineMs: 30_000 });
  const everyQemu = async () => (await Promise.all(["n1", "n2"].map((host) => findQemus(hosts.data(host))))).flat();
  const watchProcesses = () => watchMost(async () => (await everyQemu()).length);
  const recovered = (host: string) =>
    eventually(
      async () => {
        const { host: at, state, stateReason, operation } = await get();
        const wanted = { host: `hosts/${host}`, state: "VM_STATE_RUNNING", stateReason: "", operation: "" };
        expect({ host: at, state, stateReason, operation }).toEqual(wanted);
        return true;
      },
      { deadlineMs: 60_000, everyMs: 200 },
    );

  test("F5: a host fails: its VM starts on the other one from its last point, once", async () => {
    const { cluster } = hosts;
    await carryThrough(cluster, (requestId) => cluster.api.vms.stopVm({ name, requestId }));
    await untilAnswered(() =>
      cluster.api.vms.updateVm({ name, recovery: "RECOVERY_RESTART", recoveryPoint: { seconds: 60 } }),
    );
    await carryThrough(cluster, (requestId) => cluster.api.vms.startVm({ name, requestId }));
    const { recoveryPoint } = await eventually(
      async () => {
        const vm = await get();
        return (vm.recoveryPoint?.reference ?? "") !== "" && vm.operation === "" && vm;
      },
      { deadlineMs: 90_000 },
    );
    expect(recoveryPoint?.reference).toMatch(/^recovery\/default\/db@sha256:/);
    await shell("echo late >/root/late; sync");
    const from = hostOf(await get());
    const to = other(from);
    const most = watchProcesses();
    await hosts.failpoints.arm(whileRecovered);
    const { downMs, revive } = await killHost(from);
    expect(downMs).toBeLessThan(10_500);
    await refusesDeletion(whileRecovered);
    await run().recovers(`${name} on ${to}`, () => recovered(to), 60_000);
    expect(await shell("cat /root/file; ls /root/late 2>/dev/null || echo lost")).toBe("data\nlost\n");
    expect((await happened("recovered"))[0]).toMatchObject({
      ...{ from: `hosts/${from}`, to: `hosts/${to}`, checkpoint: recoveryPoint?.checkpoint },
      ...{ pointTime: recoveryPoint?.time?.toISOString(), ageSeconds: expect.any(Number) as number },
    });
    revive();
    await untilReady(from);
    await expectOn(to);
    // It ended with its host, which so was never told that it has left.
    const there = { host: `hosts/${from}`, uid: (await get()).uid };
    const { state } = await expectNoLateStart(hosts.cluster, there, "startVm");
    expect(state).toBe("WORKLOAD_STATE_CRASHED");
    expect(await findQemus(hosts.data(from))).toEqual([]);
    expect(await most()).toBe(1);
  }, 240_000);

  const happened = async (word: string) => {
    const seen: unknown[] = [];
    for await (const { type, data } of hosts.cluster.api.events.watchEvents({ filter: "evt.vm.v1.*.default.db" })) {
      if (type.endsWith(`.${word}`)) seen.push(data);
    }
    return seen;
  };

  test.runIf(isLong)(
    "F5: a host fails and no other has room: its VM runs on it again when that is back, once",
    async () => {
      const host = hostOf(await get());
      await hosts.cluster.api.hosts.cordonHost({ name: `hosts/${other(host)}` });
      const most = watchProcesses();
      const { revive } = await killHost(host);
      await eventually(async () => /NO_HOST_FITS/.test((await get()).stateReason), { deadlineMs: 30_000 });
      revive();
      await run().recovers(`${name} on ${host}`, () => recovered(host), 60_000);
      await hosts.cluster.api.hosts.uncordonHost({ name: `hosts/${other(host)}` });
      expect(await shell("cat /root/file")).toBe("data\n");
      await expectOn(host);
      expect(await most()).toBe(1);
    },
    180_000,
  );

  test("F9: while NATS is away its VM stands still, and goes on afterwards where it is", async () => {
    const host = hostOf(await get());
    const [guest] = await findQemus(hosts.data(host));
    const stateOf = async () => /\) (\w) /.exec(await readFile(`/proc/${guest?.pid}/stat`, "utf8"))?.[1];
    hosts.cluster.nats.signal("SIGSTOP");
    run().fault("pause", "nats");
    await eventually(async () => (await stateOf()) === "T", { deadlineMs: 20_000 });
    hosts.cluster.nats.signal("SIGCONT");
    await eventually(async () => (await stateOf()) !== "T", { deadlineMs: 40_000 });
    expect(await shell("cat /root/file")).toBe("data\n");
    await recovered(host);
    expect((await everyQemu()).map(({ pid }) => pid)).toEqual([guest?.pid]);
  }, 120_000);

  test.for(chosenRecoverPoints)(
    "%s: a recovery and kill -9 at %s of the %s",
    { timeout: 180_000 },
    async ([, at, who]) => {
      const from = hostOf(await get());
      const to = other(from);
      const { victim, failpoints } = hosts.victim(who, to);
      const before = victim.deaths;
      await failpoints.arm(at);
      const most = watchProcesses();
      // Its host cannot end what holds it then.
      await eventually(() =>
        hosts.cluster.api.checkpoints.createCheckpoint({ parent: name }).catch(() => false as const),
      );
      const { revive } = await killHost(from);
      try {
        await run().recovers(`${name} on ${to}`, () => recovered(to), 60_000);
        await victim.untilDead(before, 10_000);
        run().fault("kill", `${who} at ${at}`);
      } finally {
        await failpoints.disarm(at);
        revive();
      }
      await untilReady(from);
      await expectOn(to);
      expect(await shell("cat /root/file")).toBe("data\n");
      expect(await most()).toBe(1);
    },
  );
});
