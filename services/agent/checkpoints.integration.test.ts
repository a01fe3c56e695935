import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type VmDefinition, WorkloadState } from "#contracts/host/v1/agent";
import { systemRandom } from "#libs/clock";
import { Lifecycle } from "#libs/lifecycle";
import { openNats, openStreams } from "#libs/records";
import { eventually, startNats, temporaryFolder } from "#libs/testing";
import { buildGuest } from "../../test/guest/build.ts";
import { readAgentConfig } from "./config.ts";
import { startAgent } from "./service.ts";
import { cacheImage, type TestHost, testHost, vmDefinition } from "./testing/test-host.ts";

const resources = new AsyncDisposableStack();
let host: TestHost;
let vm: VmDefinition;
const PLENTY = 2 ** 40;
let freeBytes = PLENTY;

beforeAll(async () => {
  const folder = resources.use(temporaryFolder());
  const nats = resources.use(await startNats());
  const connection = await openNats({ url: nats.url });
  await openStreams(connection);
  await connection.close();
  const data = join(folder.path, "agent");
  vm = vmDefinition(await cacheImage(data, await buildGuest()), {
    disks: [
      { id: "root", sizeBytes: 0, excludeFromCheckpoints: false },
      { id: "disk1", sizeBytes: 64 * 2 ** 20, excludeFromCheckpoints: false },
    ],
  });
  const lifecycle = new Lifecycle();
  resources.defer(() => lifecycle.close());
  const config = readAgentConfig({ AGENT_DATA: data, NATS_URL: nats.url, LOG_LEVEL: "warn" });
  host = testHost((await startAgent(config, lifecycle, { freeBytes: async () => freeBytes })).address);
  await host.act(vm.uid, { $case: "createVm", value: { definition: vm } });
  await host.act(vm.uid, { $case: "startVm", value: {} });
  await agentReady();
}, 60_000);

afterAll(async () => {
  await host.act(vm.uid, { $case: "deleteVm", value: {} });
  await resources.disposeAsync();
});

async function agentReady(): Promise<void> {
  await eventually(async () => (await host.client.getWorkload({ uid: vm.uid })).guestAgent?.connected, {
    deadlineMs: 20_000,
  });
}

const write = (text: string) => host.exec(vm.uid, "/bin/sh", "-c", `echo ${text} >/data2/note; sync`);
const read = () => host.exec(vm.uid, "/bin/cat", "/data2/note");
const apply = (checkpointUid: string) =>
  host.act(vm.uid, {
    $case: "applyCheckpoint",
    value: { checkpointUid, generationId: "5dd5a6c2-9f3c-4b4e-8a53-1f4b4b6f1a01" },
  });

const first = systemRandom.id("ckpt");
const second = systemRandom.id("ckpt");
const third = systemRandom.id("ckpt");

test("a production checkpoint freezes both disks, keeps the window, and its image is clean", async () => {
  await write("one");
  const { checkpoint } = await host.act(vm.uid, {
    $case: "takeProduction",
    value: { checkpointUid: first, parentCheckpointUid: "", freezeWindowMs: 0, excludeDisks: [] },
  });
  expect(checkpoint).toMatchObject({
    refusedReason: "",
    evidence: { freeze: { count: 2, thawCount: 2 }, disks: [{ id: "root" }, { id: "disk1" }] },
  });
  const verified = await host.act(vm.uid, { $case: "verifyCheckpoint", value: { checkpointUid: first } });
  expect(verified.checkpoint?.evidence).toEqual({
    verification: { method: "ext4-superblock", result: "clean", fileSystems: 2 },
  });
});

test("a standard checkpoint saves RAM while the guest runs on", async () => {
  await write("two");
  const { checkpoint, workload } = await host.act(vm.uid, {
    $case: "takeStandard",
    value: { checkpointUid: second, parentCheckpointUid: first },
  });
  expect(workload).toMatchObject({ state: WorkloadState.RUNNING, head: second, checkpoints: [first, second] });
  expect(checkpoint?.evidence?.pauseMs).toBeGreaterThan(0);
  const verified = await host.act(vm.uid, { $case: "verifyCheckpoint", value: { checkpointUid: second } });
  expect(verified.checkpoint).toMatchObject({
    refusedReason: "verify.unclean",
    evidence: { verification: { result: "needs_recovery" } },
  });
  expect(await read()).toBe("two\n");
});

test("applying the standard checkpoint goes on from the instant", async () => {
  const uptime = async () => Number((await host.exec(vm.uid, "/bin/cat", "/proc/uptime")).split(" ")[0]);
  const before = await uptime();
  await write("three");
  const { workload } = await apply(second);
  expect(workload).toMatchObject({ state: WorkloadState.RUNNING, head: second });
  await agentReady();
  expect(await read()).toBe("two\n");
  expect(await uptime()).toBeLessThan(before + 60);
});

test("applying the production checkpoint leaves the VM off with the old disks", async () => {
  const { workload } = await apply(first);
  expect(workload).toMatchObject({ state: WorkloadState.STOPPED, head: first });
  const { checkpoint } = await host.act(vm.uid, {
    $case: "takeOffline",
    value: { checkpointUid: third, parentCheckpointUid: first, excludeDisks: [] },
  });
  expect(checkpoint?.refusedReason).toBe("");
  await host.act(vm.uid, { $case: "startVm", value: {} });
  await agentReady();
  expect(await read()).toBe("one\n");
});

const remove = (...checkpointUids: string[]) =>
  host.act(vm.uid, { $case: "removeCheckpoints", value: { checkpointUids } });
const storage = async () => (await host.client.getWorkload({ uid: vm.uid })).storage;
const merged = () => eventually(async () => (await storage())?.mergeDebtBytes === 0, { deadlineMs: 20_000 });

test("one with two branches stays hidden when it is removed; when one is left it is merged, live", async () => {
  await write("four");
  const { workload } = await remove(first);
  expect(workload).toMatchObject({ head: third, checkpoints: [second, third] });
  expect(await storage()).toMatchObject({ hiddenLayers: 2, mergeDebtBytes: 0 });
  expect(await read()).toBe("four\n");
  await remove(second);
  await merged();
  expect(await storage()).toMatchObject({ hiddenLayers: 0, sizes: [{ uid: third }] });
  await remove(third);
  await merged();
  expect(await read()).toBe("four\n");
});

test("without space nothing is taken and nothing merged; with it the merge goes on", async () => {
  const uid = systemRandom.id("ckpt");
  const value = { checkpointUid: uid, parentCheckpointUid: "", freezeWindowMs: 0, excludeDisks: [] };
  freeBytes = 100 * 2 ** 20;
  const { checkpoint: none } = await host.act(vm.uid, { $case: "takeProduction", value });
  expect(none?.refusedReason).toBe("space.insufficient");
  const standard = host.act(vm.uid, { $case: "takeStandard", value: { checkpointUid: uid, parentCheckpointUid: "" } });
  await expect(standard).rejects.toMatchObject({ reason: "SPACE_INSUFFICIENT" });
  freeBytes = PLENTY;
  await host.act(vm.uid, { $case: "takeProduction", value });
  freeBytes = 1;
  await remove(uid);
  await eventually(async () => (await storage())?.mergeWaitsFor === "space.insufficient");
  expect((await storage())?.mergeDebtBytes).toBeGreaterThan(0);
  freeBytes = PLENTY;
  await merged();
  expect(await storage()).toMatchObject({ mergeWaitsFor: "", freeBytes: PLENTY });
  expect(await read()).toBe("four\n");
});

test("a discarded checkpoint leaves the VM as it goes on", async () => {
  const uid = systemRandom.id("ckpt");
  await host.act(vm.uid, {
    $case: "takeProduction",
    value: { checkpointUid: uid, parentCheckpointUid: "", freezeWindowMs: 0, excludeDisks: [] },
  });
  await write("five");
  const { workload } = await host.act(vm.uid, { $case: "discardCheckpoint", value: { checkpointUid: uid } });
  expect(workload).toMatchObject({ head: "", checkpoints: [] });
  expect(await read()).toBe("five\n");
});
