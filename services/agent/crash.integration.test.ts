import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type VmDefinition, WorkloadState } from "#contracts/host/v1/agent";
import { systemRandom } from "#libs/clock";
import { openNats, openStreams } from "#libs/records";
import { casesOf, eventually, startNats, temporaryFolder } from "#libs/testing";
import { buildGuest } from "../../test/guest/build.ts";
import type { Manifest } from "./manifest.ts";
import type { StepAction } from "./steps/step-runner.ts";
import { AgentProcess } from "./testing/agent-process.ts";
import { cacheImage, type TestHost, vmDefinition } from "./testing/test-host.ts";

const resources = new AsyncDisposableStack();
let data: string;
let agent: AgentProcess;
let host: TestHost;
let vm: VmDefinition;

beforeAll(async () => {
  const folder = resources.use(temporaryFolder());
  const nats = resources.use(await startNats());
  const connection = await openNats({ url: nats.url });
  await openStreams(connection);
  await connection.close();
  data = join(folder.path, "agent");
  agent = new AgentProcess({ AGENT_DATA: data, NATS_URL: nats.url, LOG_LEVEL: "warn" });
  host = agent.host;
  vm = vmDefinition(await cacheImage(data, await buildGuest()));
  await agent.start();
}, 60_000);

afterAll(async () => {
  await host.act(vm.uid, { $case: "deleteVm", value: {} });
  await agent.end("SIGTERM");
  await resources.disposeAsync();
});

/** Runs a step on an agent that is killed at a failpoint, and again on the one that comes after it. */
async function survive(failpoint: string, action: StepAction) {
  await agent.end("SIGTERM");
  await agent.start({ STILLPOINT_FAILPOINTS: `${failpoint}=kill` });
  const request = { uid: vm.uid, operation: systemRandom.id("op"), epoch: host.nextEpoch() };
  await host.client.fence(request);
  await expect(host.runStep(request, action)).rejects.toMatchObject({ code: 14 });
  expect(await agent.ended).toBe("SIGKILL");
  await agent.start();
  const { stepsDone } = await host.client.fence({ ...request, epoch: host.nextEpoch() });
  expect(stepsDone).toEqual(failpoint.endsWith(".committed") ? [action.$case] : []);
  const result = await host.runStep(
    { ...request, epoch: (await host.client.getWorkload({ uid: vm.uid })).epoch },
    action,
  );
  await expectWhole();
  return result;
}

/** One QEMU at most, no file that the manifest does not name, nothing pending, and a guest that answers. */
async function expectWhole(): Promise<void> {
  const root = join(data, "workloads", vm.uid);
  const manifest = JSON.parse(await readFile(join(root, "manifest.json"), "utf8")) as Manifest;
  expect(manifest.pending).toBeNull();
  const files = (await readdir(join(root, "disks/root"))).filter((name) => name.endsWith(".qcow2"));
  expect(files.toSorted()).toEqual(
    Object.keys(manifest.layers)
      .map((id) => `${id}.qcow2`)
      .toSorted(),
  );
  expect((await readdir(join(root, "checkpoints"))).toSorted()).toEqual(Object.keys(manifest.checkpoints).toSorted());
  const { state } = await host.client.getWorkload({ uid: vm.uid });
  expect(await machines()).toHaveLength(state === WorkloadState.STOPPED ? 0 : 1);
  if (state === WorkloadState.RUNNING) await guestAnswers();
}

/** A frozen guest refuses commands. */
async function guestAnswers(): Promise<void> {
  await eventually(async () => (await host.exec(vm.uid, "/bin/echo", "up")) === "up\n", { deadlineMs: 20_000 });
}

/** How often the guard has thawed. */
async function thaws(): Promise<number> {
  return (await readFile(join(data, "guard.log"), "utf8")).split("guard: thawed 1").length - 1;
}

async function machines(): Promise<string[]> {
  const found: string[] = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const line = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (line.startsWith("qemu-system") && line.includes(`guest=${vm.uid}`)) found.push(pid);
  }
  return found;
}

const production = systemRandom.id("ckpt");
const standard = systemRandom.id("ckpt");
const takeProduction: StepAction = {
  $case: "takeProduction",
  value: { checkpointUid: production, parentCheckpointUid: "", freezeWindowMs: 0, excludeDisks: [] },
};

test("a creation that is cut off is finished", async () => {
  const { workload } = await survive("agent.create-vm.after", { $case: "createVm", value: { definition: vm } });
  expect(workload?.state).toBe(WorkloadState.STOPPED);
}, 60_000);

test("a start that is cut off does not start a second QEMU", async () => {
  const { workload } = await survive("agent.start-vm.after", { $case: "startVm", value: {} });
  expect(workload?.state).toBe(WorkloadState.RUNNING);
}, 60_000);

test.each([
  ["before the snapshot", "agent.take-production.frozen"],
  ["after the snapshot", "agent.take-production.switched"],
])(
  "a guest that is frozen when the agent dies %s is thawed by the guard",
  async (_when, failpoint) => {
    const running = await machines();
    const before = await thaws();
    await agent.end("SIGTERM");
    await agent.start({ STILLPOINT_FAILPOINTS: `${failpoint}=kill` });
    const request = { uid: vm.uid, operation: systemRandom.id("op"), epoch: host.nextEpoch() };
    await host.client.fence(request);
    await expect(host.runStep(request, takeProduction)).rejects.toMatchObject({ code: 14 });
    await eventually(async () => (await thaws()) > before);
    await agent.start();
    await expectWhole();
    expect(await machines()).toEqual(running);
    await host.client.fence({ ...request, epoch: host.nextEpoch() });
  },
  60_000,
);

test("an agent that is stuck while a guest is frozen is ended by the guard, which thaws", async () => {
  await agent.end("SIGTERM");
  await agent.start({ STILLPOINT_FAILPOINTS: "agent.take-production.frozen=pause" });
  const request = { uid: vm.uid, operation: systemRandom.id("op"), epoch: host.nextEpoch() };
  await host.client.fence(request);
  const value = { ...takeProduction.value, freezeWindowMs: 2_000 };
  await expect(host.runStep(request, { ...takeProduction, value })).rejects.toMatchObject({ code: 14 });
  expect(await agent.ended).toBe("SIGKILL");
  await agent.start();
  await expectWhole();
  await host.client.fence({ ...request, epoch: host.nextEpoch() });
}, 60_000);

/** Where the whole product is killed too, in test/faults, in the long suite only. */
const cutOff = casesOf<readonly [failpoint: string, action: StepAction]>(
  [
    [
      "agent.take-production.committed",
      { ...takeProduction, value: { ...takeProduction.value, checkpointUid: systemRandom.id("ckpt") } },
    ],
    [
      "agent.take-standard.switched",
      { $case: "takeStandard", value: { checkpointUid: systemRandom.id("ckpt"), parentCheckpointUid: "" } },
    ],
  ],
  [
    ["agent.take-production.after", takeProduction],
    [
      "agent.take-standard.stopped",
      { $case: "takeStandard", value: { checkpointUid: standard, parentCheckpointUid: "" } },
    ],
    [
      "agent.apply-checkpoint.switched",
      {
        $case: "applyCheckpoint",
        value: { checkpointUid: standard, generationId: "5dd5a6c2-9f3c-4b4e-8a53-1f4b4b6f1a01" },
      },
    ],
    ["agent.remove-checkpoints.forgotten", { $case: "removeCheckpoints", value: { checkpointUids: [production] } }],
    ["agent.stop-vm.after", { $case: "stopVm", value: { force: true, timeoutSeconds: 0 } }],
  ],
);
test.for(cutOff)("killed at %s, the step ends as it should, once", { timeout: 60_000 }, async ([failpoint, action]) => {
  await survive(failpoint, action);
});
