import { readdir } from "node:fs/promises";
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
const made: string[] = [];
let data: string;
let host: TestHost;

beforeAll(async () => {
  const folder = resources.use(temporaryFolder());
  const nats = resources.use(await startNats());
  const connection = await openNats({ url: nats.url });
  await openStreams(connection);
  await connection.close();
  data = join(folder.path, "agent");
  const lifecycle = new Lifecycle();
  resources.defer(() => lifecycle.close());
  const config = readAgentConfig({ AGENT_DATA: data, NATS_URL: nats.url, LOG_LEVEL: "warn" });
  host = testHost((await startAgent(config, lifecycle)).address);
});

afterAll(async () => {
  for (const uid of made) await host.act(uid, { $case: "deleteVm", value: {} });
  await resources.disposeAsync();
});

async function bootedVm(variant: "no-agent" | "failing-hook"): Promise<VmDefinition> {
  const vm = vmDefinition(await cacheImage(data, await buildGuest(variant)));
  made.push(vm.uid);
  await host.act(vm.uid, { $case: "createVm", value: { definition: vm } });
  await host.act(vm.uid, { $case: "startVm", value: {} });
  return vm;
}

async function takeProduction(uid: string) {
  const checkpointUid = systemRandom.id("ckpt");
  const value = { checkpointUid, parentCheckpointUid: "", freezeWindowMs: 0, excludeDisks: [] };
  return (await host.act(uid, { $case: "takeProduction", value })).checkpoint;
}

/** Nothing of a refused checkpoint is left. */
async function expectUntouched(uid: string): Promise<void> {
  const workload = await host.client.getWorkload({ uid });
  expect(workload).toMatchObject({ checkpoints: [], head: "" });
  expect(await readdir(join(data, "workloads", uid, "disks/root"))).toHaveLength(1);
  expect(await readdir(join(data, "workloads", uid, "checkpoints"))).toEqual([]);
}

test("without an agent production is refused, and a paused VM is refused too; standard is taken of both", async () => {
  const { uid } = await bootedVm("no-agent");
  expect(await takeProduction(uid)).toMatchObject({ refusedReason: "agent.absent" });
  await expectUntouched(uid);
  await expect(host.exec(uid, "/bin/true")).rejects.toMatchObject({ reason: "GUEST_AGENT_ABSENT" });

  await host.act(uid, { $case: "pauseVm", value: {} });
  expect(await takeProduction(uid)).toMatchObject({ refusedReason: "vm.paused" });
  await expectUntouched(uid);
  const value = { checkpointUid: systemRandom.id("ckpt"), parentCheckpointUid: "" };
  const { workload, checkpoint } = await host.act(uid, { $case: "takeStandard", value });
  expect(workload?.state).toBe(WorkloadState.PAUSED);
  expect(checkpoint?.evidence).toMatchObject({ pauseMs: 0, ranMs: expect.any(Number) });

  await host.act(uid, { $case: "resumeVm", value: {} });
  const apply = { checkpointUid: value.checkpointUid, generationId: crypto.randomUUID() };
  const applied = await host.act(uid, { $case: "applyCheckpoint", value: apply });
  expect(applied.workload?.state).toBe(WorkloadState.PAUSED);
  const resumed = await host.act(uid, { $case: "resumeVm", value: {} });
  expect(resumed.workload?.state).toBe(WorkloadState.RUNNING);
}, 30_000);

test("a hook that fails refuses production, and the guest is thawed", async () => {
  const { uid } = await bootedVm("failing-hook");
  await eventually(async () => (await host.client.getWorkload({ uid })).guestAgent?.connected, { deadlineMs: 20_000 });
  expect(await takeProduction(uid)).toMatchObject({
    refusedReason: "hook.failed",
    evidence: { freeze: { count: 0, thawCount: 0 } },
  });
  await expectUntouched(uid);
  expect(await host.exec(uid, "/bin/echo", "thawed")).toBe("thawed\n");
}, 30_000);
