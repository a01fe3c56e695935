import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type VmDefinition, WorkloadState } from "#contracts/host/v1/agent";
import type { CheckpointStorage } from "#contracts/vm/v1/vm";
import { systemRandom } from "#libs/clock";
import { openNats, openStreams } from "#libs/records";
import { eventually, startNats, temporaryFolder } from "#libs/testing";
import { buildGuest } from "../../test/guest/build.ts";
import { AgentProcess } from "./testing/agent-process.ts";
import { cacheImage, type TestHost, vmDefinition } from "./testing/test-host.ts";
import { expectTrueHeaders, expectWholeLayers } from "./testing/whole-layers.ts";

const MIB = 2 ** 20;
/** A merge of the test's files takes seconds: long enough to be cut off. */
const SLOWLY = String(12 * MIB);

const resources = new AsyncDisposableStack();
let data: string;
let agent: AgentProcess;
let host: TestHost;
let vm: VmDefinition;
/** sha256 of the files in the guest that must be there, by path. */
let expected: Record<string, string> = {};

beforeAll(async () => {
  const folder = resources.use(temporaryFolder());
  const nats = resources.use(await startNats());
  const connection = await openNats({ url: nats.url });
  await openStreams(connection);
  await connection.close();
  data = join(folder.path, "agent");
  vm = vmDefinition(await cacheImage(data, await buildGuest()), {
    disks: [
      { id: "root", sizeBytes: 0, excludeFromCheckpoints: false },
      { id: "disk1", sizeBytes: 256 * MIB, excludeFromCheckpoints: false },
    ],
  });
  agent = new AgentProcess({ AGENT_DATA: data, NATS_URL: nats.url, LOG_LEVEL: "error" });
  host = agent.host;
  await agent.start();
  await host.act(vm.uid, { $case: "createVm", value: { definition: vm } });
  await start();
}, 90_000);

afterAll(async () => {
  await host.act(vm.uid, { $case: "deleteVm", value: {} });
  await agent.end("SIGTERM");
  await resources.disposeAsync();
});

async function again(env: Readonly<Record<string, string>> = {}): Promise<void> {
  await agent.end("SIGTERM");
  await agent.start(env);
}

async function start(): Promise<void> {
  await host.act(vm.uid, { $case: "startVm", value: {} });
  await eventually(async () => (await host.client.getWorkload({ uid: vm.uid })).guestAgent?.connected, {
    deadlineMs: 30_000,
  });
}

const sh = (script: string) => host.exec(vm.uid, "/bin/sh", "-c", script);

/** Writes a file of random bytes and remembers its digest. */
async function write(name: string, mebibytes: number): Promise<void> {
  const path = `/data2/${name}`;
  const sum = await sh(`dd if=/dev/urandom of=${path} bs=1M count=${mebibytes} 2>/dev/null; sync; sha256sum ${path}`);
  expected = { ...expected, [path]: sum.split(" ")[0] ?? "" };
}

/** What the guest reads from its disks, not from its memory. */
async function expectContent(): Promise<void> {
  const paths = Object.keys(expected).join(" ");
  const sums = await sh(`sync; echo 3 >/proc/sys/vm/drop_caches; sha256sum ${paths}`);
  const read = sums.split("\n").filter(Boolean);
  expect(Object.fromEntries(read.map((line) => line.split(/ +/).toReversed()))).toEqual(expected);
}

async function take(): Promise<string> {
  const checkpointUid = systemRandom.id("ckpt");
  const value = { checkpointUid, parentCheckpointUid: "", freezeWindowMs: 0, excludeDisks: [] };
  const { checkpoint } = await host.act(vm.uid, { $case: "takeProduction", value });
  expect(checkpoint?.refusedReason).toBe("");
  return checkpointUid;
}

const apply = (checkpointUid: string) =>
  host.act(vm.uid, {
    $case: "applyCheckpoint",
    value: { checkpointUid, generationId: crypto.randomUUID(), leaveOff: false },
  });

const remove = (...checkpointUids: string[]) =>
  host.act(vm.uid, { $case: "removeCheckpoints", value: { checkpointUids } });

async function storage(): Promise<CheckpointStorage> {
  const { storage: found } = await host.client.getWorkload({ uid: vm.uid });
  if (found === undefined) throw new Error("the agent does not tell sizes");
  return found;
}

const merged = () => eventually(async () => (await storage()).mergeDebtBytes === 0, { deadlineMs: 60_000 });
const inTheMiddle = () =>
  eventually(async () => (await storage()).mergeDoneBytes > MIB, { deadlineMs: 20_000, everyMs: 50 });

/** Bytes are written on and on until it is disposed of; then the last number of the log is as many as it has lines. */
async function guestWriting(): Promise<AsyncDisposable> {
  await sh("(i=0; while [ ! -e /data2/stop ]; do i=$((i+1)); echo $i >>/data2/log; sync; done) >/dev/null 2>&1 &");
  return {
    async [Symbol.asyncDispose]() {
      const last = await sh("touch /data2/stop; sleep 1; sync; wc -l </data2/log; tail -n 1 /data2/log");
      const [lines, number] = last.trim().split(/\s+/).map(Number);
      expect(number).toBe(lines);
      expect(number).toBeGreaterThan(1);
      await sh("rm /data2/stop /data2/log; sync");
    },
  };
}

/** While no agent is there, QEMU's control socket is free to be asked. */
async function expectWhole(): Promise<void> {
  await agent.end("SIGTERM");
  await expectWholeLayers(join(data, "workloads", vm.uid));
  await agent.start();
}

let first = "";
let second = "";
let third = "";

test("a checkpoint under two branches is removed: its layers are hidden, and both branches are whole", async () => {
  await write("first", 16);
  first = await take();
  await write("second", 4);
  second = await take();
  await apply(first);
  await start();
  delete expected["/data2/second"];
  await write("third", 4);
  third = await take();
  await remove(first);
  expect(await storage()).toMatchObject({ hiddenLayers: 2, mergeDebtBytes: 0, mergeWaitsFor: "" });
  const sizes = Object.fromEntries((await storage()).sizes.map((size) => [size.uid, size]));
  expect(sizes[third]?.ownBytes).toBeLessThan(12 * MIB);
  expect(sizes[third]?.cumulativeBytes).toBeGreaterThan(16 * MIB);
  await expectContent();
  await expectWhole();
}, 90_000);

test("once a branch is gone it is merged while the guest writes, also when the agent is killed in the middle", async () => {
  await again({ AGENT_MERGE_BYTES_PER_SECOND: SLOWLY, STILLPOINT_FAILPOINTS: "agent.merge.copying=kill" });
  {
    await using _writing = await guestWriting();
    await remove(second);
    expect(await agent.ended).toBe("SIGKILL");
    await agent.start();
    await merged();
    expect(await storage()).toMatchObject({ hiddenLayers: 0, sizes: [{ uid: third }] });
  }
  await expectContent();
  await expectWhole();
}, 90_000);

test("a merge goes on with the files of a VM whose QEMU is killed in the middle of it", async () => {
  await write("fourth", 4);
  const fourth = await take();
  await again({ AGENT_MERGE_BYTES_PER_SECOND: SLOWLY });
  await remove(third);
  await inTheMiddle();
  const { pid } = await host.client.getWorkload({ uid: vm.uid });
  process.kill(pid, "SIGKILL");
  await eventually(async () => (await host.client.getWorkload({ uid: vm.uid })).state === WorkloadState.CRASHED);
  await merged();
  await start();
  await expectContent();
  await expectWhole();
  third = fourth;
}, 90_000);

test("agent and QEMU that are killed when all is copied leave layers that read as before by their headers", async () => {
  await write("copied", 4);
  const next = await take();
  await again({ STILLPOINT_FAILPOINTS: "agent.merge.copied=kill" });
  const { pid } = await host.client.getWorkload({ uid: vm.uid });
  await remove(third);
  expect(await agent.ended).toBe("SIGKILL");
  process.kill(pid, "SIGKILL");
  await expectTrueHeaders(join(data, "workloads", vm.uid));
  await agent.start();
  await merged();
  await start();
  await expectContent();
  await expectWhole();
  third = next;
}, 90_000);

test("a forced stop and a start come first; the merge goes on after them", async () => {
  const fifth = await take();
  await again({ AGENT_MERGE_BYTES_PER_SECOND: SLOWLY });
  await remove(third);
  await inTheMiddle();
  const askedAt = performance.now();
  await host.act(vm.uid, { $case: "stopVm", value: { force: true, timeoutSeconds: 0 } });
  expect(performance.now() - askedAt).toBeLessThan(3_000);
  expect((await storage()).mergeDebtBytes).toBeGreaterThan(0);
  await inTheMiddle();
  await start();
  await merged();
  await expectContent();
  await expectWhole();
  third = fifth;
}, 90_000);

test("a checkpoint is applied while a merge runs; it is taken up again", async () => {
  await write("sixth", 4);
  await take();
  const sixth = await take();
  await write("seventh", 4);
  await again({ AGENT_MERGE_BYTES_PER_SECOND: SLOWLY });
  await remove(third);
  await inTheMiddle();
  expect((await apply(sixth)).workload).toMatchObject({ state: WorkloadState.STOPPED, head: sixth });
  delete expected["/data2/seventh"];
  await start();
  await merged();
  await expectContent();
  await write("eighth", 4);
  const { checkpoints } = await host.client.getWorkload({ uid: vm.uid });
  expect(checkpoints).toHaveLength(2);
  await remove(...checkpoints);
  const askedAt = performance.now();
  await merged();
  expect(performance.now() - askedAt).toBeLessThan(15_000);
  expect(await storage()).toMatchObject({ sizes: [], hiddenLayers: 0 });
  await expectContent();
  await expectWhole();
}, 120_000);
