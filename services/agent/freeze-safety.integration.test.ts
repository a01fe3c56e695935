import { execFile } from "node:child_process";
import { chmod, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type VmDefinition, WorkloadState } from "#contracts/host/v1/agent";
import { systemRandom } from "#libs/clock";
import { openNats, openStreams } from "#libs/records";
import { eventually, startNats, temporaryFolder } from "#libs/testing";
import { buildGuest } from "../../test/guest/build.ts";
import type { Manifest } from "./manifest.ts";
import { GuestAgentChannel } from "./qemu/guest-agent.ts";
import { Qmp } from "./qemu/qmp.ts";
import { connectUnix } from "./qemu/socket.ts";
import { AgentProcess } from "./testing/agent-process.ts";
import { cacheImage, vmDefinition } from "./testing/test-host.ts";

const run = promisify(execFile);
const resources = new AsyncDisposableStack();
let data: string;
let agent: AgentProcess;
let vm: VmDefinition;

beforeAll(async () => {
  const folder = resources.use(temporaryFolder());
  const nats = resources.use(await startNats());
  const connection = await openNats({ url: nats.url });
  await openStreams(connection);
  await connection.close();
  data = join(folder.path, "agent");
  vm = vmDefinition(await cacheImage(data, await buildGuest()));
  agent = new AgentProcess({ AGENT_DATA: data, NATS_URL: nats.url, LOG_LEVEL: "error" });
  await agent.start();
  await act({ $case: "createVm", value: { definition: vm } });
  await act({ $case: "startVm", value: {} });
  await eventually(guestAnswers, { deadlineMs: 30_000 });
}, 90_000);

afterAll(async () => {
  await act({ $case: "deleteVm", value: {} });
  await agent.end("SIGTERM");
  await resources.disposeAsync();
});

type Action = Parameters<AgentProcess["host"]["act"]>[1];

const act = (action: Action) => agent.host.act(vm.uid, action);
const restart = async (failpoints = "") => {
  await agent.end("SIGTERM");
  await agent.start({ STILLPOINT_FAILPOINTS: failpoints });
};
const exec = (script: string) => agent.host.exec(vm.uid, "/bin/sh", "-c", script);
const guestAnswers = async () => (await exec("echo up")) === "up\n";

const takeProduction = async (freezeWindowMs = 0) => {
  const value = { checkpointUid: systemRandom.id("ckpt"), parentCheckpointUid: "", freezeWindowMs, excludeDisks: [] };
  return (await act({ $case: "takeProduction", value })).checkpoint;
};

/** The VM as it goes on, and nothing beside it. */
async function expectNothingLeft(): Promise<void> {
  const root = join(data, "workloads", vm.uid);
  const manifest = JSON.parse(await readFile(join(root, "manifest.json"), "utf8")) as Manifest;
  expect(manifest).toMatchObject({ pending: null, head: null, checkpoints: {} });
  expect(await readdir(join(root, "disks/root"))).toHaveLength(1);
}

test("a guest that an agent that is gone had frozen, and that stands, is thawed when it goes on", async () => {
  await agent.end("SIGTERM");
  const run = join(data, "workloads", vm.uid, "run");
  const channel = new GuestAgentChannel(join(run, "agent.sock"));
  expect(await channel.call("guest-fsfreeze-freeze")).toBe(1);
  const qmp = await Qmp.open(await connectUnix(join(run, "qmp.sock")));
  await qmp.run("stop");
  qmp.close();
  channel.close();
  await agent.start();
  expect(await takeProduction()).toMatchObject({ refusedReason: "vm.paused" });
  await act({ $case: "resumeVm", value: {} });
  await eventually(guestAnswers, { deadlineMs: 30_000 });
  expect(await takeAndDiscard()).toBe("");
  await expectNothingLeft();
}, 90_000);

test("a guest that resets while it is frozen refuses the checkpoint, and comes up unfrozen", async () => {
  await restart("agent.take-production.frozen=delay:3000");
  await eventually(guestAnswers, { deadlineMs: 30_000 });
  await exec("(sleep 1; echo b >/proc/sysrq-trigger) >/dev/null 2>&1 </dev/null &");
  const outcome = await takeProduction();
  expect(["thaw.count_mismatch", "agent.unresponsive"]).toContain(outcome?.refusedReason);
  await eventually(guestAnswers, { deadlineMs: 60_000 });
  await expectNothingLeft();
}, 120_000);

test("QEMU that dies while its guest is frozen leaves no half of a checkpoint, and no lease", async () => {
  await restart("agent.take-production.frozen=delay:3000");
  await eventually(guestAnswers, { deadlineMs: 30_000 });
  const { pid } = await agent.host.client.getWorkload({ uid: vm.uid });
  const taking = takeProduction();
  await eventually(async () => !(await guestAnswers().catch(() => false)), { deadlineMs: 10_000 });
  process.kill(pid, "SIGKILL");
  expect((await taking)?.refusedReason).toMatch(/^(tx\.failed|agent\.unresponsive)$/);
  expect((await agent.host.client.getWorkload({ uid: vm.uid })).state).toBe(WorkloadState.CRASHED);
  await expectNothingLeft();
  await act({ $case: "startVm", value: {} });
  await eventually(guestAnswers, { deadlineMs: 30_000 });
  await restart();
  expect(await takeAndDiscard()).toBe("");
}, 120_000);

test("a window that passes is a reason, and the guest is thawed", async () => {
  await restart("agent.take-production.frozen=delay:1500");
  await eventually(guestAnswers, { deadlineMs: 30_000 });
  expect(await takeProduction(1_000)).toMatchObject({ refusedReason: "freeze.window_exceeded" });
  expect(await guestAnswers()).toBe(true);
  await expectNothingLeft();
}, 60_000);

test("a device whose state cannot be saved is the reason why there is no standard checkpoint, before anything stops", async () => {
  const root = join(data, "workloads", vm.uid);
  const old = join(root, "run/old.qcow");
  await run("qemu-img", ["create", "-q", "-f", "qcow", old, "1M"]);
  await chmod(old, 0o666);
  await agent.end("SIGTERM");
  const qmp = await Qmp.open(await connectUnix(join(root, "run/qmp.sock")));
  const node = { driver: "qcow", "node-name": "old", file: { driver: "file", filename: "run/old.qcow" } };
  await qmp.run("blockdev-add", node);
  qmp.close();
  await agent.start();
  const value = { checkpointUid: systemRandom.id("ckpt"), parentCheckpointUid: "" };
  await expect(act({ $case: "takeStandard", value })).rejects.toMatchObject({
    reason: "STANDARD_FAILED",
    metadata: { reason: "ram.blocked_device" },
    message: expect.stringMatching(/qcow/),
  });
  await expectNothingLeft();
  await eventually(guestAnswers, { deadlineMs: 10_000 });
}, 60_000);

/** A checkpoint can be had again: the reason why not, empty for none. */
async function takeAndDiscard(): Promise<string | undefined> {
  const checkpointUid = systemRandom.id("ckpt");
  const value = { checkpointUid, parentCheckpointUid: "", freezeWindowMs: 0, excludeDisks: [] };
  const { checkpoint } = await act({ $case: "takeProduction", value });
  await act({ $case: "discardCheckpoint", value: { checkpointUid } });
  return checkpoint?.refusedReason;
}
