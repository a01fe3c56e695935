import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { CheckpointKind } from "#contracts/checkpoint/v1/checkpoint";
import { VmState } from "#contracts/vm/v1/vm";
import { eventually } from "#libs/testing";
import { GuestAgentChannel } from "../../services/agent/qemu/guest-agent.ts";
import { serviceNames } from "../harness/cluster.ts";
import { findGuards, findQemus, type QemuProcess, socketPath } from "../harness/qemu-process.ts";
import { untilVm } from "../harness/vm-client.ts";
import { faultRuns } from "./fault-run.ts";
import { checkInvariants } from "./invariants.ts";
import { countOf } from "./matrix.ts";
import { carryThrough, untilAnswered } from "./patient-api.ts";
import { checkpointsOf, cold, runInGuest, type Stage, setStage, stopByForce, subject } from "./stage.ts";

const frozen = "agent.take-production.frozen";

/** The host keeps running: guests outlive the agent and every other process of ours. */
describe("guests and the processes that see to them", () => {
  let stage: Stage;
  const run = faultRuns(() => stage.cluster);
  beforeAll(async () => {
    stage = await setStage({ [frozen]: "kill" });
  }, 240_000);
  afterAll(async () => {
    await stage[Symbol.asyncDispose]();
  }, 120_000);
  beforeEach(() => stage.reset());

  test("F3: kill -9 of the agent: guests go on, and the next agent adopts them as they are", async () => {
    await using _held = await pausedByItsUser(stage);
    const before = await lookAt(stage);
    await killAgent(stage);
    run().fault("kill", "agent");
    await run().recovers("the agent", () => runInGuest(stage.cluster, subject, "true"));
    const after = await lookAt(stage);
    expect(after.qemus).toEqual(before.qemus);
    expect(after.uptime).toBeGreaterThan(before.uptime);
    expect(after.states).toEqual({ [subject]: VmState.RUNNING, [cold]: VmState.PAUSED });
    await resume(stage, cold);
    await oneGuard(stage);
    await checkInvariants(stage.cluster);
  });

  test("F3: killed in the middle of a freeze and staying dead: the guard thaws within the window, and ends", async () => {
    const { cluster, failpoints } = stage;
    const { agent } = cluster.services;
    const [qemu] = await findQemus(cluster.folder);
    const deaths = agent.deaths;
    agent.hold();
    await failpoints.arm(frozen);
    const displayName = "frozen";
    const { name } = await cluster.api.checkpoints.createCheckpoint({ parent: subject, displayName });
    await agent.untilDead(deaths, 30_000);
    run().fault("kill", "agent");
    const diedAt = performance.now();
    // The guard and this test take turns at the guest's one channel.
    await eventually(async () => (await freezeStatus(qemu)) === "thawed", { deadlineMs: windowMs });
    run().recovered("the guest is thawed", performance.now() - diedAt);
    expect(await readFile(join(cluster.folder, "agent", "guard.log"), "utf8")).toContain("guard: thawed 1");
    await noGuard(stage);
    expect(agent.isAlive).toBe(false);
    agent.release();
    await carryThrough(cluster, async () => ({ name }));
    await oneGuard(stage);
    expect(await findQemus(cluster.folder)).toEqual([qemu]);
    const made = (await checkpointsOf(cluster, subject)).filter((checkpoint) => checkpoint.displayName === displayName);
    expect(made.map(({ kind, fellBack }) => ({ kind, fellBack }))).toEqual([
      { kind: CheckpointKind.PRODUCTION, fellBack: false },
    ]);
    await checkInvariants(cluster);
  });

  test("F5: kill -9 of a guest's QEMU: the VM is crashed, an event tells it, and it can be started again", async () => {
    const { cluster } = stage;
    for (let round = 1; round <= countOf("qemu"); round++) {
      const [qemu] = await findQemus(cluster.folder);
      process.kill(qemu?.pid ?? 0, "SIGKILL");
      run().fault("kill", "qemu");
      await run().recovers("it is told", () =>
        untilVm(cluster.api.vms, subject, ({ state }) => state === VmState.CRASHED),
      );
      await eventually(async () => (await crashesOf(stage, subject)) === round);
      await carryThrough(cluster, (requestId) => cluster.api.vms.startVm({ name: subject, requestId }));
      await runInGuest(cluster, subject, "true");
      await checkInvariants(cluster);
    }
  });

  test("F16: kill -9 of every service at once: each VM is told as it is, one that died meanwhile too", async () => {
    const { cluster } = stage;
    await carryThrough(cluster, (requestId) => cluster.api.vms.startVm({ name: cold, requestId }));
    const before = await lookAt(stage);
    const services = serviceNames.map((name) => cluster.services[name]);
    for (const service of services) service.hold();
    for (const service of services) service.kill("SIGKILL");
    await eventually(() => services.every(({ isAlive }) => !isAlive));
    const { uid } = before.vms.find(({ name }) => name === cold) ?? {};
    const lost = before.qemus.find(({ folder }) => folder.endsWith(`/${uid}`));
    process.kill(lost?.pid ?? 0, "SIGKILL");
    for (const service of services) service.release();
    run().fault("kill all");
    const told = () => untilVm(cluster.api.vms, cold, ({ state }) => state === VmState.CRASHED);
    await run().recovers("all services", told);
    await runInGuest(cluster, subject, "true");
    const after = await lookAt(stage);
    expect(after.states).toEqual({ [subject]: VmState.RUNNING, [cold]: VmState.CRASHED });
    expect(after.qemus).toEqual(before.qemus.filter(({ pid }) => pid !== lost?.pid));
    expect(after.uptime).toBeGreaterThan(before.uptime);
    await checkInvariants(cluster);
    await stopByForce(cluster, cold);
  });
});

/** The agent's default. */
const windowMs = 10_000;

async function killAgent({ cluster }: Stage): Promise<void> {
  const { agent } = cluster.services;
  const deaths = agent.deaths;
  agent.kill("SIGKILL");
  await agent.untilDead(deaths, 5_000);
}

async function lookAt({ cluster }: Stage) {
  const { vms } = await untilAnswered(() => cluster.api.vms.listVms({ parent: "projects/default" }));
  const uptime = await runInGuest(cluster, subject, "cat", "/proc/uptime");
  return {
    vms,
    states: Object.fromEntries(vms.map(({ name, state }) => [name, state])),
    qemus: await findQemus(cluster.folder),
    uptime: Number(uptime.split(" ")[0]),
  };
}

async function pausedByItsUser(stage: Stage): Promise<AsyncDisposable> {
  const { cluster } = stage;
  await carryThrough(cluster, (requestId) => cluster.api.vms.startVm({ name: cold, requestId }));
  await carryThrough(cluster, (requestId) => cluster.api.vms.pauseVm({ name: cold, requestId }));
  return { [Symbol.asyncDispose]: () => stopByForce(cluster, cold) };
}

async function resume({ cluster }: Stage, name: string): Promise<void> {
  await carryThrough(cluster, (requestId) => cluster.api.vms.resumeVm({ name, requestId }));
  await untilVm(cluster.api.vms, name, ({ state }) => state === VmState.RUNNING);
}

/** Asks the guest's agent itself. */
async function freezeStatus(qemu: QemuProcess | undefined): Promise<string> {
  if (qemu === undefined) throw new Error("no QEMU runs");
  const channel = new GuestAgentChannel(socketPath(qemu, "agent.sock"));
  try {
    return await channel.call<string>("guest-fsfreeze-status", undefined, windowMs);
  } finally {
    channel.close();
  }
}

async function oneGuard(stage: Stage): Promise<void> {
  const { agent } = stage.cluster.services;
  await eventually(async () => {
    const guards = await findGuards(stage.cluster.folder);
    return guards.length === 1 && guards[0]?.agentPid === agent.pid;
  });
}

async function noGuard(stage: Stage): Promise<void> {
  await eventually(async () => (await findGuards(stage.cluster.folder)).length === 0);
}

/** How many events tell that a VM has crashed. */
async function crashesOf({ cluster }: Stage, name: string): Promise<number> {
  let count = 0;
  const events = cluster.api.events.watchEvents({ filter: "evt.vm.v1.crashed.>" });
  for await (const { resource } of events) if (resource === name) count++;
  return count;
}
