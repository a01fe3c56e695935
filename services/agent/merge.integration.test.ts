import { afterAll, beforeAll, expect, test } from "vitest";
import { WorkloadState } from "#contracts/host/v1/agent";
import { eventually, isLong } from "#libs/testing";
import { MergeStage, MIB, SLOWLY } from "./testing/merge-stage.ts";
import { expectTrueHeaders } from "./testing/whole-layers.ts";

const stage = new MergeStage();
const { again, start, write, unexpect, expectContent, expectWhole, take, apply, remove } = stage;
const { storage, merged, inTheMiddle, guestWriting, workload } = stage;

beforeAll(() => stage.open(256), 90_000);
afterAll(() => stage[Symbol.asyncDispose]());

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
  unexpect("second");
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
  await again({ ...SLOWLY, STILLPOINT_FAILPOINTS: "agent.merge.copying=kill" });
  {
    await using _writing = await guestWriting();
    await remove(second);
    expect(await stage.agent.ended).toBe("SIGKILL");
    await stage.agent.start();
    await merged();
    expect(await storage()).toMatchObject({ hiddenLayers: 0, sizes: [{ uid: third }] });
  }
  await expectContent();
  await expectWhole();
}, 90_000);

test.runIf(isLong)(
  "a merge goes on with the files of a VM whose QEMU is killed in the middle of it",
  async () => {
    await write("fourth", 4);
    const fourth = await take();
    await again(SLOWLY);
    await remove(third);
    await inTheMiddle();
    const { pid } = await workload();
    process.kill(pid, "SIGKILL");
    await eventually(async () => (await workload()).state === WorkloadState.CRASHED);
    await merged();
    await start();
    await expectContent();
    await expectWhole();
    third = fourth;
  },
  90_000,
);

test("agent and QEMU that are killed when all is copied leave layers that read as before by their headers", async () => {
  await write("copied", 4);
  const next = await take();
  await again({ STILLPOINT_FAILPOINTS: "agent.merge.copied=kill" });
  const { pid } = await workload();
  await remove(third);
  expect(await stage.agent.ended).toBe("SIGKILL");
  process.kill(pid, "SIGKILL");
  await expectTrueHeaders(stage.root);
  await stage.agent.start();
  await merged();
  await start();
  await expectContent();
  await expectWhole();
  third = next;
}, 90_000);

test.runIf(isLong)(
  "a forced stop and a start come first; the merge goes on after them",
  async () => {
    const fifth = await take();
    await again(SLOWLY);
    await remove(third);
    await inTheMiddle();
    await stage.host.act(stage.uid, { $case: "stopVm", value: { force: true, timeoutSeconds: 0 } });
    expect((await storage()).mergeDebtBytes).toBeGreaterThan(0);
    await inTheMiddle();
    await start();
    await merged();
    await expectContent();
    await expectWhole();
    third = fifth;
  },
  90_000,
);

test("a checkpoint is applied while a merge runs; it is taken up again", async () => {
  await write("sixth", 4);
  await take();
  const sixth = await take();
  await write("seventh", 4);
  await again(SLOWLY);
  await remove(third);
  await inTheMiddle();
  expect((await apply(sixth)).workload).toMatchObject({ state: WorkloadState.STOPPED, head: sixth });
  unexpect("seventh");
  await start();
  await merged();
  await expectContent();
  await write("eighth", 4);
  const { checkpoints } = await workload();
  expect(checkpoints).toHaveLength(2);
  await remove(...checkpoints);
  await merged();
  expect(await storage()).toMatchObject({ sizes: [], hiddenLayers: 0 });
  await expectContent();
  await expectWhole();
}, 120_000);
