import { afterAll, beforeAll, expect, test } from "vitest";
import { WorkloadState } from "#contracts/host/v1/agent";
import { casesOf, eventually, isLong } from "#libs/testing";
import { MergeStage, SLOWLY } from "./testing/merge-stage.ts";

/** All is copied; a machine has yet to switch, and the manifest to say so. */
const copied = "agent.merge.copied";
/** The manifest says so already; the machine that writes to the old layer is still to switch. */
const switching = "agent.merge.switching";
/** The machine has switched, and what it writes to is not the top any more. */
const merged = "agent.merge.merged";

const stage = new MergeStage();
const { again, start, write, expectContent, expectWhole, take, remove, layers } = stage;
const { storage, inTheMiddle, guestWriting, workload } = stage;

/** The checkpoint whose layer holds most of the disk. */
let oldest = "";

beforeAll(async () => {
  await stage.open(512);
  await write("big", 88);
  oldest = await take();
}, 90_000);
afterAll(() => stage[Symbol.asyncDispose]());

const fail = (point: string, how: "kill" | "throw") => again({ STILLPOINT_FAILPOINTS: `${point}=${how}` });

/** The agent kills itself at its failpoint, and with it, as in a power cut, ends the machine. */
async function removeKilled(both: boolean, checkpointUid: string): Promise<void> {
  const { pid } = await workload();
  await remove(checkpointUid);
  expect(await stage.agent.ended).toBe("SIGKILL");
  if (both) process.kill(pid, "SIGKILL");
  await stage.agent.start();
  if (both) await start();
}

/** Begins a merge under now that takes its time; gives the layer that it goes down to. */
async function removeSlowly(): Promise<string | undefined> {
  const [bottom] = await layers();
  await write("piece", 16);
  const next = await take();
  await again(SLOWLY);
  await remove(oldest);
  oldest = next;
  return bottom;
}

async function stopInTheMiddle(): Promise<void> {
  await inTheMiddle();
  await stage.host.act(stage.uid, { $case: "stopVm", value: { force: true, timeoutSeconds: 0 } });
  expect((await storage()).mergeDebtBytes).toBeGreaterThan(0);
}

/** As a middle layer: now stands on what is merged. */
async function expectUnderNow(bottom: string | undefined): Promise<void> {
  await stage.merged();
  const found = await layers();
  expect(found).toHaveLength(2);
  expect(found[0]).toBe(bottom);
  await expectContent();
  await expectWhole();
}

async function expectAlone(bottom: string | undefined): Promise<void> {
  await stage.merged();
  expect(await layers()).toEqual([bottom]);
  expect(await storage()).toMatchObject({ hiddenLayers: 0, sizes: [] });
  await expectContent();
  await expectWhole();
}

/** At a point of the merge, and whether the machine is too. */
type Killed = readonly [point: string, both: boolean];

const underNow = casesOf<Killed>(
  [
    [merged, false],
    [copied, true],
  ],
  [
    [copied, false],
    [merged, true],
  ],
);
test.for(underNow)("under now: killed at %s, the machine too: %s", { timeout: 120_000 }, async ([point, both]) => {
  const [bottom] = await layers();
  {
    await using _writing = await guestWriting();
    await write("piece", 4);
    const next = await take();
    await fail(point, "kill");
    await removeKilled(both, oldest);
    oldest = next;
  }
  await expectUnderNow(bottom);
});

test.runIf(isLong)("under now: QEMU is killed in the middle", { timeout: 120_000 }, async () => {
  const bottom = await removeSlowly();
  await inTheMiddle();
  process.kill((await workload()).pid, "SIGKILL");
  await eventually(async () => (await workload()).state === WorkloadState.CRASHED);
  await stage.merged();
  await start();
  await expectUnderNow(bottom);
});

test("under now: a forced stop comes first, and a start", { timeout: 120_000 }, async () => {
  const bottom = await removeSlowly();
  await stopInTheMiddle();
  await inTheMiddle();
  await start();
  await expectUnderNow(bottom);
});

test.for(casesOf([true], [false]))("under a checkpoint, while the VM runs: %s", { timeout: 120_000 }, async (runs) => {
  await write("piece", 4);
  const next = await take();
  await write("other", 4);
  const last = await take();
  const [bottom] = await layers();
  if (!runs) await stage.host.act(stage.uid, { $case: "stopVm", value: { force: true, timeoutSeconds: 0 } });
  await remove(oldest);
  await stage.merged();
  expect(await layers()).toHaveLength(3);
  if (!runs) await start();
  await expectContent();
  await expectWhole();
  await remove(next);
  oldest = last;
  await expectUnderNow(bottom);
});

const nowItself = casesOf<Killed>(
  [
    [copied, false],
    [switching, true],
    [merged, false],
  ],
  [
    [switching, false],
    [copied, true],
    [merged, true],
  ],
);
test.for(nowItself)("now itself: killed at %s, the machine too: %s", { timeout: 120_000 }, async ([point, both]) => {
  const [bottom] = await layers();
  {
    await using _writing = await guestWriting();
    await write("piece", 4);
    await fail(point, "kill");
    await removeKilled(both, oldest);
    await stage.merged();
  }
  await expectAlone(bottom);
  oldest = await take();
});

test("now itself: a switch that fails is taken back", { timeout: 120_000 }, async () => {
  const [bottom] = await layers();
  {
    await using _writing = await guestWriting();
    await fail(switching, "throw");
    await remove(oldest);
    await eventually(async () => (await storage()).mergeDebtBytes > 0 && (await layers()).length === 2);
    await write("piece", 4);
    expect(await layers()).toHaveLength(2);
    await again();
    await stage.merged();
  }
  await expectAlone(bottom);
  oldest = await take();
});

test("now itself: QEMU is killed in the middle, and a stopped VM is merged", { timeout: 120_000 }, async () => {
  const [bottom] = await layers();
  await write("piece", 16);
  await again(SLOWLY);
  await remove(oldest);
  await inTheMiddle();
  process.kill((await workload()).pid, "SIGKILL");
  await eventually(async () => (await workload()).state === WorkloadState.CRASHED);
  await stage.merged();
  await start();
  await expectAlone(bottom);
  oldest = await take();
});

test.runIf(isLong)("now itself: a forced stop comes first, and a start", { timeout: 120_000 }, async () => {
  const [bottom] = await layers();
  await write("piece", 16);
  await again(SLOWLY);
  await remove(oldest);
  await stopInTheMiddle();
  await inTheMiddle();
  await start();
  await expectAlone(bottom);
});
