import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { LeaseHappened, Observation, type VmDefinition, WorkloadState } from "#contracts/host/v1/agent";
import { Recovery } from "#contracts/vm/v1/vm";
import { systemRandom } from "#libs/clock";
import { eventually } from "#libs/testing";
import type { AgentProcess } from "../testing/agent-process.ts";
import { LeaseStage } from "../testing/lease-stage.ts";
import type { TestOwner } from "../testing/owner.ts";
import { isGone, isStopped, statOf } from "../testing/process-state.ts";
import { refusedStart } from "../testing/refused-start.ts";
import { vmDefinition } from "../testing/test-host.ts";

let stage: LeaseStage;
let agent: AgentProcess;
let owner: TestOwner;
/** With recovery RESTART. */
let fenced: VmDefinition;
let plain: VmDefinition;

beforeAll(async () => {
  stage = await LeaseStage.open();
  ({ agent, owner, vm: fenced } = stage);
  plain = vmDefinition(stage.image, { name: "projects/default/vms/plain", recovery: Recovery.NONE });
  await stage.make(plain);
  await eventually(() => agent.host.exec(plain.uid, "/bin/echo", "up"), { deadlineMs: 60_000 });
}, 120_000);

afterAll(() => stage[Symbol.asyncDispose]());

beforeEach(() => {
  Object.assign(owner, { answers: true, word: "resume", epoch: owner.heard?.ownerEpoch ?? owner.epoch });
});

const workload = (vm = fenced) => stage.workload(vm);
const guestAnswers = () => stage.guestAnswers();

/** What was told of the lease, so far. */
async function leaseChanges(): Promise<LeaseHappened[]> {
  const { state } = await (await jetstreamManager(stage.nats)).streams.info("OBS");
  const manager = await jetstreamManager(stage.nats);
  const told: LeaseHappened[] = [];
  for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
    const message = await manager.streams.getMessage("OBS", { seq });
    const { happened, uid } = Observation.fromJSON(message?.json());
    if (uid === fenced.uid && happened?.$case === "lease") told.push(happened.value.what);
  }
  return told;
}

test("a VM that must not run twice is a child of the guard, with its own user, and dies with nobody else", async () => {
  const { pid } = await workload();
  const [, parent] = await statOf(pid);
  expect(Number(parent)).toBe(await stage.guardPid());
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const ours = process.getuid?.() ?? 0;
  if (ours === 0) expect(Number(/^Uid:\s+(\d+)/m.exec(status)?.[1])).toBeGreaterThanOrEqual(200_000);
  expect(/^Seccomp:\s+2/m.test(status)).toBe(true);
  const plainParent = (await statOf((await workload(plain)).pid))[1];
  expect(Number(plainParent)).not.toBe(await stage.guardPid());
});

test("a host that is not answered pauses it, leaves the other alone, and lets it go on when the owner says so", async () => {
  const { pid } = await workload();
  owner.answers = false;
  await stage.untilStopped(pid);
  await eventually(async () => (await workload()).leaseHoldTime);
  expect(await workload()).toMatchObject({ state: WorkloadState.PAUSED, pid });
  expect(await workload(plain)).toMatchObject({ state: WorkloadState.RUNNING });
  expect(await agent.host.exec(plain.uid, "/bin/echo", "up")).toBe("up\n");
  const value = { checkpointUid: systemRandom.id("ckpt"), parentCheckpointUid: "" };
  for (const action of [
    { $case: "pauseVm", value: {} },
    { $case: "takeStandard", value },
  ] as const) {
    await expect(agent.host.act(fenced.uid, action)).rejects.toMatchObject({ reason: "LEASE_EXPIRED" });
  }
  await expect(guestAnswers()).rejects.toMatchObject({ reason: "LEASE_EXPIRED" });

  const known = owner.epoch;
  Object.assign(owner, { answers: true, epoch: known - 1 });
  const before = owner.heard?.sequence ?? 0;
  await eventually(() => (owner.heard?.sequence ?? 0) >= before + 2, { deadlineMs: 10_000 });
  expect(await isStopped(pid)).toBe(true);
  expect(owner.heard?.held).toMatchObject([{ uid: fenced.uid, workload: fenced.name }]);

  Object.assign(owner, { epoch: known + 1, word: "none" });
  await eventually(() => owner.heard?.ownerEpoch === known + 1, { deadlineMs: 10_000 });
  expect(await isStopped(pid)).toBe(true);

  owner.word = "resume";
  await stage.untilRunning(pid);
  await eventually(guestAnswers, { deadlineMs: 10_000 });
  await eventually(async () => (await leaseChanges()).length >= 2);
  expect((await leaseChanges()).slice(0, 2)).toEqual([LeaseHappened.PAUSED, LeaseHappened.RESUMED]);
}, 60_000);

test("one that its user had paused stays paused, and a checkpoint that it cuts through ends as it should", async () => {
  const { pid } = await workload();
  await agent.host.act(fenced.uid, { $case: "pauseVm", value: {} });
  owner.answers = false;
  await stage.untilStopped(pid);
  owner.answers = true;
  await stage.untilRunning(pid);
  expect(await workload()).toMatchObject({ state: WorkloadState.PAUSED });
  await agent.host.act(fenced.uid, { $case: "resumeVm", value: {} });
  await eventually(guestAnswers, { deadlineMs: 10_000 });

  await agent.end("SIGTERM");
  await agent.start({ STILLPOINT_FAILPOINTS: "agent.take-production.frozen=delay:6000" });
  await eventually(guestAnswers, { deadlineMs: 10_000 });
  const value = {
    checkpointUid: systemRandom.id("ckpt"),
    parentCheckpointUid: "",
    freezeWindowMs: 5_000,
    excludeDisks: [],
  };
  owner.answers = false;
  const taking = agent.host.act(fenced.uid, { $case: "takeProduction", value });
  await stage.untilStopped(pid);
  owner.answers = true;
  expect((await taking).checkpoint?.refusedReason).toMatch(/^(freeze.window_exceeded|agent.unresponsive)$/);
  await stage.untilRunning(pid);
  await eventually(guestAnswers, { deadlineMs: 20_000 });
}, 90_000);

test("the guard pauses it alone while the agent is stopped, or dead, and the next agent finds it", async () => {
  const { pid } = await workload();
  agent.kill("SIGSTOP");
  await stage.untilStopped(pid);
  agent.kill("SIGCONT");
  await stage.untilRunning(pid);
  await agent.end("SIGKILL");
  await stage.untilStopped(pid);
  owner.word = "none";
  await agent.start();
  expect(await workload()).toMatchObject({ state: WorkloadState.PAUSED, pid: 0 });
  owner.word = "resume";
  await stage.untilRunning(pid);
  await eventually(guestAnswers, { deadlineMs: 10_000 });
}, 60_000);

test("the agent pauses it for a guard that does not answer", async () => {
  const { pid } = await workload();
  const guard = await stage.guardPid();
  process.kill(guard, "SIGSTOP");
  await eventually(() => isStopped(pid), { deadlineMs: 10_000 });
  owner.answers = false;
  process.kill(guard, "SIGCONT");
  owner.answers = true;
  await stage.untilRunning(pid);
  await eventually(guestAnswers, { deadlineMs: 10_000 });
}, 60_000);

test("it can be ended while it is paused, and is started neither without a lease nor, after that, without a word", async () => {
  const { pid } = await workload();
  owner.answers = false;
  await stage.untilStopped(pid);
  await eventually(async () => (await workload()).leaseHoldTime);
  await agent.host.act(fenced.uid, { $case: "stopVm", value: { force: true, timeoutSeconds: 0 } });
  expect(await isGone(pid)).toBe(true);
  await eventually(async () => (await workload()).state === WorkloadState.STOPPED);
  const start = agent.host.act(fenced.uid, { $case: "startVm", value: {} });
  await expect(start).rejects.toMatchObject({ reason: "LEASE_EXPIRED" });
  // With its lease again, it may run elsewhere by now, of which a start knows nothing that was long on its way.
  Object.assign(owner, { answers: true, word: "end" });
  const late = () => agent.host.act(fenced.uid, { $case: "startVm", value: {} });
  expect(await refusedStart(late)).toBe("START_UNCONFIRMED");
  expect(await workload()).toMatchObject({ state: WorkloadState.STOPPED, leftBehind: false, pid: 0 });
  owner.word = "resume";
  await stage.start();
  for (let round = 0; round < 3; round++) {
    await agent.host.act(fenced.uid, { $case: "stopVm", value: { force: true, timeoutSeconds: 0 } });
    await agent.host.act(fenced.uid, { $case: "startVm", value: {} });
  }
  await eventually(guestAnswers, { deadlineMs: 30_000 });
}, 60_000);

test("it dies with the guard, and starts under a new one", async () => {
  const { pid } = await workload();
  process.kill(await stage.guardPid(), "SIGKILL");
  await eventually(() => isGone(pid), { deadlineMs: 5_000 });
  await eventually(async () => (await workload()).state === WorkloadState.CRASHED);
  expect((await workload(plain)).state).toBe(WorkloadState.RUNNING);
  await stage.start();
  expect(Number((await statOf((await workload()).pid))[1])).toBe(await stage.guardPid());
}, 60_000);

test("one that runs elsewhere is ended; its files stay, and no agent starts it again", async () => {
  const { pid } = await workload();
  owner.answers = false;
  await stage.untilStopped(pid);
  Object.assign(owner, { answers: true, word: "end" });
  await eventually(() => isGone(pid), { deadlineMs: 10_000 });
  await eventually(() => owner.heard?.leftBehind.some(({ uid }) => uid === fenced.uid), { deadlineMs: 10_000 });
  expect(await workload()).toMatchObject({ state: WorkloadState.STOPPED, leftBehind: true });
  const start = agent.host.act(fenced.uid, { $case: "startVm", value: {} });
  await expect(start).rejects.toMatchObject({ reason: "WORKLOAD_LEFT_BEHIND" });
  await agent.end("SIGKILL");
  await agent.start();
  expect(await workload()).toMatchObject({ state: WorkloadState.STOPPED, leftBehind: true });
  expect(await readdir(join(stage.data, "workloads", fenced.uid, "disks/root"))).not.toEqual([]);
  expect((await workload(plain)).state).toBe(WorkloadState.RUNNING);
  expect((await leaseChanges()).at(-1)).toBe(LeaseHappened.ENDED);
}, 60_000);
