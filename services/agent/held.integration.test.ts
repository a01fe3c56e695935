import { readdir, readFile, rename } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { VmDefinition } from "#contracts/host/v1/agent";
import { systemRandom } from "#libs/clock";
import { openNats, openStreams } from "#libs/records";
import { eventually, startNats, temporaryFolder } from "#libs/testing";
import { buildGuest } from "../../test/guest/build.ts";
import type { Manifest } from "./manifest.ts";
import type { StepAction } from "./steps/step-runner.ts";
import { AgentProcess } from "./testing/agent-process.ts";
import { cacheImage, type TestHost, vmDefinition } from "./testing/test-host.ts";

const MiB = 2 ** 20;
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
  vm = vmDefinition(await cacheImage(data, await buildGuest()), {
    disks: [
      { id: "root", sizeBytes: 0, excludeFromCheckpoints: false },
      { id: "disk1", sizeBytes: 64 * MiB, excludeFromCheckpoints: false },
      { id: "disk2", sizeBytes: 64 * MiB, excludeFromCheckpoints: false },
    ],
  });
  await agent.start();
  await host.act(vm.uid, { $case: "createVm", value: { definition: vm } });
  await host.act(vm.uid, { $case: "startVm", value: {} });
  await eventually(async () => (await host.client.getWorkload({ uid: vm.uid })).guestAgent?.connected, {
    deadlineMs: 20_000,
  });
}, 60_000);

afterAll(async () => {
  await host.act(vm.uid, { $case: "deleteVm", value: {} });
  await agent.end("SIGTERM");
  await resources.disposeAsync();
});

/** The steps of one operation on the VM. */
async function operation() {
  const request = { uid: vm.uid, operation: systemRandom.id("op"), epoch: host.nextEpoch() };
  await host.client.fence(request);
  return {
    run: async (action: StepAction) => (await host.runStep(request, action)).checkpoint,
    /** After the agent has ended: another worker goes on. */
    again: async () => {
      request.epoch = host.nextEpoch();
      await host.client.fence(request);
    },
  };
}

const hold = (checkpointUid: string, change: object = {}): StepAction => {
  const value = { checkpointUid, parentCheckpointUid: "", freezeWindowMs: 0, excludeDisks: [], ...change };
  return { $case: "holdFrozen", value };
};
const take = (checkpointUid: string): StepAction => ({ $case: "takeHeld", value: { checkpointUid } });
const thaw = (checkpointUid: string, commit: boolean): StepAction => ({
  $case: "thawHeld",
  value: { checkpointUid, commit },
});
const discard = (checkpointUid: string): StepAction => ({ $case: "discardCheckpoint", value: { checkpointUid } });

/** A frozen guest refuses commands. */
const guestAnswers = async () => (await host.exec(vm.uid, "/bin/echo", "up")) === "up\n";
const isFrozen = () =>
  guestAnswers().then(
    (answers) => !answers,
    () => true,
  );

/** Nothing but the VM as it goes on: one layer for each disk, no checkpoint, a guest that answers. */
async function expectUntouched(): Promise<void> {
  const root = join(data, "workloads", vm.uid);
  const manifest = JSON.parse(await readFile(join(root, "manifest.json"), "utf8")) as Manifest;
  expect(manifest).toMatchObject({ pending: null, head: null, checkpoints: {} });
  for (const disk of ["root", "disk1", "disk2"]) expect(await readdir(join(root, "disks", disk))).toHaveLength(1);
  expect(await readdir(join(root, "checkpoints"))).toEqual([]);
  await eventually(guestAnswers, { deadlineMs: 20_000 });
}

describe("three disks", () => {
  test("are taken without the one that is excluded, which a later apply leaves as it is", async () => {
    const uid = systemRandom.id("ckpt");
    const write = (text: string) =>
      host.exec(vm.uid, "/bin/sh", "-c", `echo ${text} >/data2/note; echo ${text} >/root/note; sync`);
    await write("before");
    const { run } = await operation();
    const value = { checkpointUid: uid, parentCheckpointUid: "", freezeWindowMs: 0, excludeDisks: ["disk1"] };
    const outcome = await run({ $case: "takeProduction", value });
    expect(outcome).toMatchObject({
      refusedReason: "",
      evidence: {
        disks: [
          { id: "root", included: true },
          { id: "disk1", included: false, why: expect.stringContaining("asked") },
          { id: "disk2", included: true },
        ],
      },
    });
    expect((await run({ $case: "verifyCheckpoint", value: { checkpointUid: uid } }))?.refusedReason).toBe("");
    await write("after");
    const generationId = crypto.randomUUID();
    await host.act(vm.uid, { $case: "applyCheckpoint", value: { checkpointUid: uid, generationId } });
    await host.act(vm.uid, { $case: "startVm", value: {} });
    await eventually(guestAnswers, { deadlineMs: 20_000 });
    expect(await host.exec(vm.uid, "/bin/cat", "/root/note")).toBe("before\n");
    expect(await host.exec(vm.uid, "/bin/cat", "/data2/note")).toBe("after\n");
    await host.act(vm.uid, discard(uid));
    await expectUntouched();
  }, 60_000);

  test("are none when the layer of one cannot be made", async () => {
    const folder = join(data, "workloads", vm.uid, "disks", "disk2");
    await rename(folder, `${folder}.away`);
    const { run } = await operation();
    const value = {
      checkpointUid: systemRandom.id("ckpt"),
      parentCheckpointUid: "",
      freezeWindowMs: 0,
      excludeDisks: [],
    };
    await expect(run({ $case: "takeProduction", value })).rejects.toThrow();
    await rename(`${folder}.away`, folder);
    await expectUntouched();
  });

  test("of which the root cannot be left out, nor one that there is not", async () => {
    for (const disk of ["root", "disk9"]) {
      const { run } = await operation();
      const value = { checkpointUid: "ckpt-1", parentCheckpointUid: "", freezeWindowMs: 0, excludeDisks: [disk] };
      await expect(run({ $case: "takeProduction", value })).rejects.toMatchObject({ reason: "ARGUMENT_INVALID" });
    }
    await expectUntouched();
  });
});

describe("a guest that is held frozen", () => {
  test("is taken and thawed by the steps that follow, each of which may be repeated", async () => {
    const uid = systemRandom.id("ckpt");
    const { run } = await operation();
    expect(await run(hold(uid))).toMatchObject({
      refusedReason: "",
      evidence: { timeline: [{}, { event: "frozen" }] },
    });
    expect(await isFrozen()).toBe(true);
    expect(await run(take(uid))).toMatchObject({ refusedReason: "", evidence: { timeline: [{ event: "taken" }] } });
    const outcome = await run(thaw(uid, true));
    expect(outcome).toMatchObject({
      refusedReason: "",
      evidence: {
        freeze: { count: 3, thawCount: 3 },
        timeline: ["freeze-asked", "frozen", "taken", "thawed"].map((event) => ({ event })),
      },
    });
    expect(await guestAnswers()).toBe(true);
    const later = await operation();
    expect(await later.run(thaw(uid, true))).toEqual(outcome);
    await later.run(discard(uid));
    await expectUntouched();
  });

  test("leaves nothing when it is not wanted any more", async () => {
    const uid = systemRandom.id("ckpt");
    const { run } = await operation();
    await run(hold(uid));
    await run(take(uid));
    expect(await run(thaw(uid, false))).toMatchObject({
      refusedReason: "group.member_failed",
      evidence: { freeze: { count: 3, thawCount: 3 } },
    });
    await expectUntouched();
  });

  test("is thawed by the agent itself at the end of its window", async () => {
    const uid = systemRandom.id("ckpt");
    const { run } = await operation();
    await run(hold(uid, { freezeWindowMs: 4_000 }));
    expect(await isFrozen()).toBe(true);
    await eventually(guestAnswers, { deadlineMs: 10_000 });
    expect(await run(take(uid))).toMatchObject({ refusedReason: "freeze.window_exceeded" });
    expect(await run(thaw(uid, true))).toMatchObject({ refusedReason: "freeze.window_exceeded" });
    await expectUntouched();
  });

  test("is thawed by whatever else is done with the VM first", async () => {
    const { run } = await operation();
    await run(hold(systemRandom.id("ckpt")));
    await host.act(vm.uid, discard(systemRandom.id("ckpt")));
    await expectUntouched();
  });

  test.each(["hold-frozen", "take-held"])(
    "is thawed and rolled back when the agent dies after %s",
    async (step) => {
      const uid = systemRandom.id("ckpt");
      await agent.end("SIGTERM");
      await agent.start({ STILLPOINT_FAILPOINTS: `agent.${step}.committed=kill` });
      const { run, again } = await operation();
      const steps = async () => {
        await run(hold(uid));
        await run(take(uid));
      };
      await expect(steps()).rejects.toMatchObject({ code: 14 });
      await agent.ended;
      await agent.start();
      await eventually(guestAnswers, { deadlineMs: 20_000 });
      await again();
      expect(await run(thaw(uid, true))).toMatchObject({ refusedReason: "freeze.interrupted" });
      await expectUntouched();
    },
    60_000,
  );
});
