import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Vm, VmSpec } from "#contracts/vm/v1/vm";
import { eventually } from "#libs/testing";
import { findQemus } from "../harness/qemu-process.ts";
import { carryThrough, carryToEnd, untilAnswered } from "./patient-api.ts";
import { deleteVm, runInGuest } from "./stage.ts";
import { startTwoHosts, type TwoHosts } from "./two-hosts.ts";

const parent = "projects/default";
const name = `${parent}/vms/db`;

/** Where the process dies: of the VM service, of the agent that it leaves, of the one that it comes to. */
const movePoints = [
  ["vm.move.stop.committed", "vm"],
  ["vm.move.push.after", "vm"],
  ["vm.move.switch.before", "vm"],
  ["vm.move.switch.after", "vm"],
  ["vm.move.conclude.before", "vm"],
  ["agent.take-offline.after", "source"],
  ["agent.receive-checkpoint.filled", "target"],
  ["agent.delete-vm.after", "source"],
] as const;

/** Where the process dies: of the VM service, of the scheduler, of the agent that it comes to. */
const recoverPoints = [
  ["vm.recover.check.committed", "vm"],
  ["vm.recover.place.after", "vm"],
  ["vm.recover.bring.after", "vm"],
  ["vm.recover.switch.before", "vm"],
  ["vm.recover.switch.after", "vm"],
  ["vm.recover.go-on.after", "vm"],
  ["vm.recover.conclude.before", "vm"],
  ["agent.create-vm.after", "target"],
  ["agent.receive-checkpoint.filled", "target"],
  ["agent.start-vm.after", "target"],
] as const;

/** STILLPOINT_FAULTS: "all", or a failpoint to run one again; else few. */
const which = process.env.STILLPOINT_FAULTS ?? "";
const few = ["vm.move.switch.after", "vm.recover.switch.after"];
const chosen = <Point extends readonly [string, string]>(points: readonly Point[]) =>
  points.filter(([at]) => which === "all" || (which === "" ? few.includes(at) : which === at));

describe("two hosts", () => {
  let hosts: TwoHosts;
  beforeAll(async () => {
    const names = [...new Set([...movePoints, ...recoverPoints].map(([at]) => at))];
    hosts = await startTwoHosts({
      ...Object.fromEntries(names.map((at) => [at, "kill" as const])),
      "vm.move.apply.after": "throw",
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
        const known = await hosts.cluster.api.hosts.listHosts({});
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

  test("a drain moves a VM that asks for it: the same one, with its data, runs on the other host", async () => {
    const before = await get();
    const drained = await carryThrough(hosts.cluster, (requestId) =>
      hosts.cluster.api.hosts.drainHost({ name: "hosts/n1", requestId }),
    );
    expect(drained.output).toMatchObject({ stopped: [], moved: [{ workload: name, to: "hosts/n2" }], notMoved: [] });
    await expectOn("n2");
    const { uid, spec } = await get();
    expect({ uid, spec }).toEqual({ uid: before.uid, spec: before.spec });
    expect(await shell("cat /root/file")).toBe("data\n");
    await hosts.cluster.api.hosts.uncordonHost({ name: "hosts/n1" });
  }, 120_000);

  test("a move that fails is taken back: it runs where it was", async () => {
    await hosts.failpoints.arm("vm.move.apply.after");
    expect(await carryToEnd(hosts.cluster, move)).toMatchObject({ state: "OPERATION_STATE_FAILED" });
    await expectOn("n2");
    expect(await shell("cat /root/file")).toBe("data\n");
  }, 120_000);

  test.for(chosen(movePoints))("a move and kill -9 at %s of the %s", { timeout: 120_000 }, async ([at, who]) => {
    const from = hostOf(await get());
    const to = other(from);
    const victim = who === "vm" ? hosts.cluster.services.vm : hosts.agent(who === "target" ? to : from);
    const before = victim.deaths;
    await hosts.failpoints.arm(at);
    try {
      await carryThrough(hosts.cluster, move);
      await victim.untilDead(before, 10_000);
    } finally {
      await hosts.failpoints.disarm(at);
    }
    await expectOn(to);
    expect(await shell("cat /root/file")).toBe("data\n");
  });

  /** Gives what brings it back. */
  const killHost = async (host: string) => {
    const { revive } = await hosts.kill(host);
    const startMs = performance.now();
    await eventually(async () => (await hostNamed(host))?.state === "HOST_STATE_DOWN", { deadlineMs: 15_000 });
    return { downMs: performance.now() - startMs, revive };
  };
  const hostNamed = async (host: string) =>
    (await untilAnswered(() => hosts.cluster.api.hosts.listHosts({}))).hosts.find((it) => it.name === `hosts/${host}`);
  const untilReady = (host: string) =>
    eventually(async () => (await hostNamed(host))?.state === "HOST_STATE_READY", { deadlineMs: 30_000 });
  const everyQemu = async () => (await Promise.all(["n1", "n2"].map((host) => findQemus(hosts.data(host))))).flat();
  /** The most of its processes that were seen at once, looking each 200 ms until it is told to end. */
  const watchProcesses = () => {
    const stop = new AbortController();
    const watching = (async () => {
      let most = 0;
      while (!stop.signal.aborted) {
        most = Math.max(most, (await everyQemu()).length);
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
      return most;
    })();
    return () => {
      stop.abort();
      return watching;
    };
  };
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

  test("a host fails: its VM starts on the other one from its last point, once", async () => {
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
    const { downMs, revive } = await killHost(from);
    expect(downMs).toBeLessThan(10_500);
    await recovered(to);
    expect(await shell("cat /root/file; ls /root/late 2>/dev/null || echo lost")).toBe("data\nlost\n");
    expect((await happened("recovered"))[0]).toMatchObject({
      ...{ from: `hosts/${from}`, to: `hosts/${to}`, checkpoint: recoveryPoint?.checkpoint },
      ...{ pointTime: recoveryPoint?.time?.toISOString(), ageSeconds: expect.any(Number) as number },
    });
    revive();
    await untilReady(from);
    await expectOn(to);
    expect(await most()).toBe(1);
  }, 240_000);

  const happened = async (word: string) => {
    const seen: unknown[] = [];
    for await (const { type, data } of hosts.cluster.api.events.watchEvents({ filter: "evt.vm.v1.*.default.db" })) {
      if (type.endsWith(`.${word}`)) seen.push(data);
    }
    return seen;
  };

  test("while NATS is away its VM stands still, and goes on afterwards where it is", async () => {
    const host = hostOf(await get());
    const [guest] = await findQemus(hosts.data(host));
    const stateOf = async () => /\) (\w) /.exec(await readFile(`/proc/${guest?.pid}/stat`, "utf8"))?.[1];
    hosts.cluster.nats.signal("SIGSTOP");
    await eventually(async () => (await stateOf()) === "T", { deadlineMs: 20_000 });
    hosts.cluster.nats.signal("SIGCONT");
    await eventually(async () => (await stateOf()) !== "T", { deadlineMs: 40_000 });
    expect(await shell("cat /root/file")).toBe("data\n");
    await recovered(host);
    expect((await everyQemu()).map(({ pid }) => pid)).toEqual([guest?.pid]);
  }, 120_000);

  test.for(chosen(recoverPoints))("a recovery and kill -9 at %s of the %s", { timeout: 180_000 }, async ([at, who]) => {
    const from = hostOf(await get());
    const to = other(from);
    const victim = who === "vm" ? hosts.cluster.services.vm : hosts.agent(to);
    const before = victim.deaths;
    await hosts.failpoints.arm(at);
    const most = watchProcesses();
    // Its host cannot end what holds it then.
    await eventually(() =>
      hosts.cluster.api.checkpoints.createCheckpoint({ parent: name }).catch(() => false as const),
    );
    const { revive } = await killHost(from);
    try {
      await recovered(to);
      await victim.untilDead(before, 10_000);
    } finally {
      await hosts.failpoints.disarm(at);
      revive();
    }
    await untilReady(from);
    await expectOn(to);
    expect(await shell("cat /root/file")).toBe("data\n");
    expect(await most()).toBe(1);
  });
});
