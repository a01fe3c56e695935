import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type VmDefinition, WorkloadState } from "#contracts/host/v1/agent";
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
let data: string;

beforeAll(async () => {
  const folder = resources.use(temporaryFolder());
  const nats = resources.use(await startNats());
  const connection = await openNats({ url: nats.url });
  await openStreams(connection);
  await connection.close();
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
  host = testHost((await startAgent(config, lifecycle)).address);
}, 60_000);

afterAll(async () => {
  await host.act(vm.uid, { $case: "deleteVm", value: {} });
  await resources.disposeAsync();
});

test("a VM is made, starts, answers through its agent, pauses, resumes, reboots and powers off", async () => {
  await host.act(vm.uid, { $case: "createVm", value: { definition: vm } });
  const started = await host.act(vm.uid, { $case: "startVm", value: {} });
  expect(started.workload).toMatchObject({ state: WorkloadState.RUNNING, machineType: "pc-q35-7.2" });

  const answering = await eventually(
    async () => {
      const workload = await host.client.getWorkload({ uid: vm.uid });
      return workload.guestAgent?.connected === true && workload;
    },
    { deadlineMs: 20_000 },
  );
  expect(answering.guestAgent?.version).toMatch(/^\d/);
  expect(await host.exec(vm.uid, "/bin/echo", "hello")).toBe("hello\n");

  const paused = await host.act(vm.uid, { $case: "pauseVm", value: {} });
  expect(paused.workload?.state).toBe(WorkloadState.PAUSED);
  const resumed = await host.act(vm.uid, { $case: "resumeVm", value: {} });
  expect(resumed.workload?.state).toBe(WorkloadState.RUNNING);

  const stopped = await host.act(vm.uid, { $case: "stopVm", value: { force: false, timeoutSeconds: 20 } });
  expect(stopped.workload).toMatchObject({ state: WorkloadState.STOPPED, pid: 0 });
}, 60_000);
