import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { Observation, type VmDefinition, WorkloadState } from "#contracts/host/v1/agent";
import { systemRandom } from "#libs/clock";
import { Lifecycle } from "#libs/lifecycle";
import { openNats, openStreams } from "#libs/records";
import { eventually, startNats, temporaryFolder } from "#libs/testing";
import { buildGuest } from "../../test/guest/build.ts";
import { readAgentConfig } from "./config.ts";
import { probeQemu, type QemuFacts } from "./qemu/probe.ts";
import { startAgent } from "./service.ts";
import { cacheImage, type TestHost, testHost, vmDefinition } from "./testing/test-host.ts";

const resources = new AsyncDisposableStack();
let host: TestHost;
let vm: VmDefinition;
let data: string;
let connection: NatsConnection;

beforeAll(async () => {
  const folder = resources.use(temporaryFolder());
  const nats = resources.use(await startNats());
  connection = await openNats({ url: nats.url });
  resources.defer(() => connection.close());
  await openStreams(connection);
  data = join(folder.path, "a-rather-long-name-for-a-data-folder-so-that-sockets-do-not-fit-into-108-bytes");
  vm = vmDefinition(await cacheImage(data, await buildGuest()));
  const lifecycle = new Lifecycle();
  resources.defer(() => lifecycle.close());
  const config = readAgentConfig({
    AGENT_DATA: data,
    AGENT_ADDRESS: `unix:${join(folder.path, "agent.sock")}`,
    NATS_URL: nats.url,
    LOG_LEVEL: "warn",
  });
  await pretendProbe(data, { backgroundSnapshot: false });
  host = testHost((await startAgent(config, lifecycle)).address);
}, 60_000);

afterAll(async () => {
  await host.act(vm.uid, { $case: "deleteVm", value: {} });
  await resources.disposeAsync();
});

/** Changes what an earlier agent is taken to have probed here. */
async function pretendProbe(folder: string, change: Partial<QemuFacts>): Promise<void> {
  await mkdir(folder, { recursive: true });
  await probeQemu(folder, null);
  const path = join(folder, "qemu-facts.json");
  await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, "utf8")), ...change }));
}

async function agentReady() {
  return await eventually(
    async () => {
      const workload = await host.client.getWorkload({ uid: vm.uid });
      return workload.guestAgent?.connected === true && workload;
    },
    { deadlineMs: 20_000 },
  );
}

test("a VM is made, starts, answers through its agent, pauses, resumes and reboots", async () => {
  await host.act(vm.uid, { $case: "createVm", value: { definition: vm } });
  const started = await host.act(vm.uid, { $case: "startVm", value: {} });
  expect(started.workload).toMatchObject({ state: WorkloadState.RUNNING, machineType: "pc-q35-7.2" });

  const answering = await agentReady();
  expect(answering.guestAgent?.version).toMatch(/^\d/);
  expect(await host.exec(vm.uid, "/bin/echo", "hello")).toBe("hello\n");

  const paused = await host.act(vm.uid, { $case: "pauseVm", value: {} });
  expect(paused.workload?.state).toBe(WorkloadState.PAUSED);
  const resumed = await host.act(vm.uid, { $case: "resumeVm", value: {} });
  expect(resumed.workload?.state).toBe(WorkloadState.RUNNING);

  const rebooted = await host.act(vm.uid, { $case: "rebootVm", value: { force: false } });
  expect(rebooted.workload?.pid).not.toBe(started.workload?.pid);
}, 60_000);

test("where RAM cannot be saved in the background the guest stands a little longer, and comes back the same", async () => {
  await agentReady();
  await host.exec(vm.uid, "/bin/sh", "-c", "echo kept >/root/note; sync");
  const checkpointUid = systemRandom.id("ckpt");
  const { checkpoint, workload } = await host.act(vm.uid, {
    $case: "takeStandard",
    value: { checkpointUid, parentCheckpointUid: "" },
  });
  expect(checkpoint?.evidence).toMatchObject({ ramMethod: "pre-copy", pauseMs: expect.any(Number) });
  expect(workload?.state).toBe(WorkloadState.RUNNING);
  await host.exec(vm.uid, "/bin/rm", "/root/note");
  const generationId = "5dd5a6c2-9f3c-4b4e-8a53-1f4b4b6f1a01";
  const applied = await host.act(vm.uid, { $case: "applyCheckpoint", value: { checkpointUid, generationId } });
  expect(applied.workload?.state).toBe(WorkloadState.RUNNING);
  await agentReady();
  expect(await host.exec(vm.uid, "/bin/cat", "/root/note")).toBe("kept\n");
}, 60_000);

test("a VM powers off when it is asked to, and a command to it is refused then", async () => {
  const stopped = await host.act(vm.uid, { $case: "stopVm", value: { force: false, timeoutSeconds: 20 } });
  expect(stopped.workload).toMatchObject({ state: WorkloadState.STOPPED, pid: 0 });
  await expect(host.exec(vm.uid, "/bin/true")).rejects.toMatchObject({ reason: "VM_STATE" });
}, 60_000);

test("the host beats, and what was seen is in the stream, in order", async () => {
  const beats = connection.subscribe("hb.host.v1.*", { max: 1 });
  for await (const message of beats) {
    expect(message.json()).toMatchObject({ workloads: [vm.uid], capabilities: expect.arrayContaining(["qemu"]) });
  }
  const manager = await jetstreamManager(connection);
  await vi.waitFor(async () => {
    const { state } = await manager.streams.info("OBS");
    const seen: Observation[] = [];
    for (let seq = 1; seq <= state.last_seq; seq++) {
      seen.push(Observation.fromJSON((await manager.streams.getMessage("OBS", { seq }))?.json()));
    }
    expect(seen.map(({ sequence }) => sequence)).toEqual(seen.map((_, index) => index + 1));
    const states = seen.flatMap(({ happened }) => (happened?.$case === "state" ? [happened.value] : []));
    expect([states[0], states.at(-1)]).toEqual([WorkloadState.RUNNING, WorkloadState.STOPPED]);
    expect(seen.map(({ happened }) => happened?.$case)).toContain("digests");
  }, 5_000);
});
