import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Operation } from "#contracts/operation/v1/operation";
import { OperationState } from "#contracts/operation/v1/operation";
import { CheckpointType, VmState } from "#contracts/vm/v1/vm";
import { eventually } from "#libs/testing";
import { findQemus } from "../harness/qemu-process.ts";
import { untilDone, untilVm } from "../harness/vm-client.ts";
import { faultRuns } from "./fault-run.ts";
import { checkInvariants } from "./invariants.ts";
import { expectContent, isMerged, mergeOf, mergingDown } from "./merge-scenarios.ts";
import { carryThrough, carryToEnd } from "./patient-api.ts";
import { mountSmallDisk, type SmallDisk } from "./small-disk.ts";
import { checkChain } from "./sound-chain.ts";
import { checkpointsOf, runInGuest, type Stage, setStage, subject, takeCheckpoint } from "./stage.ts";

const MiB = 2 ** 20;
const points = {
  "agent.take-standard.stopped": "delay:1500",
  "agent.take-production.frozen": "delay:1500",
  "agent.apply-checkpoint.switched": "delay:1500",
  "agent.merge.begun": "delay:1500",
} as const;

describe("F12: a host whose disk fills up", () => {
  let disk: SmallDisk;
  let stage: Stage;
  let owned: AsyncDisposableStack;
  const run = faultRuns(() => stage.cluster);
  beforeAll(async () => {
    await using stack = new AsyncDisposableStack();
    disk = stack.use(await mountSmallDisk(900 * MiB));
    stage = stack.use(await setStage(points, { AGENT_DATA: disk.path }));
    owned = stack.move();
  }, 240_000);
  afterAll(async () => {
    await disk.clear();
    await owned[Symbol.asyncDispose]();
  }, 120_000);
  beforeEach(() => disk.clear());

  test.each([CheckpointType.PRODUCTION, CheckpointType.PRODUCTION_ONLY, CheckpointType.STANDARD])(
    "full before a checkpoint (%s): refused, and nothing is left",
    async (type) => {
      const before = await names();
      await disk.fill(2 * MiB);
      run().fault("full disk");
      const ended = await create(type);
      expect(ended.state).toBe(OperationState.FAILED);
      expect(ended.error?.message).toMatch(/free|space/i);
      await soundAgain();
      expect(await names()).toEqual(before);
    },
  );

  test("full while RAM is written: the guest goes on, and nothing is left", async () => {
    const before = await names();
    const ended = await fillAt("agent.take-standard.stopped", () => create(CheckpointType.STANDARD));
    expect(ended.error).toMatchObject({
      reason: expect.stringMatching(/SPACE_INSUFFICIENT|STANDARD_FAILED/) as string,
    });
    await soundAgain();
    expect(await names()).toEqual(before);
  });

  test("full while the guest is frozen: it is thawed, and what is told is true", async () => {
    const ended = await fillAt("agent.take-production.frozen", () => create(CheckpointType.PRODUCTION_ONLY));
    await soundAgain();
    const made = (await checkpointsOf(stage.cluster, subject)).filter(({ displayName }) => displayName === last);
    expect(made.length).toBe(ended.state === OperationState.SUCCEEDED ? 1 : 0);
  });

  test("full while a checkpoint is applied: applied or as before, never between", async () => {
    const name = await takeCheckpoint(stage.cluster, subject, CheckpointType.STANDARD);
    await fillAt("agent.apply-checkpoint.switched", () =>
      carryToEnd(stage.cluster, (requestId) => stage.cluster.api.checkpoints.applyCheckpoint({ name, requestId })),
    );
    await disk.clear();
    const { state } = await stage.cluster.api.vms.getVm({ name: subject });
    if (state !== VmState.RUNNING) {
      await carryThrough(stage.cluster, (requestId) => stage.cluster.api.vms.startVm({ name: subject, requestId }));
    }
    await soundAgain();
  });

  test("full while layers are merged down: it waits, goes on with space, and all is there", async () => {
    await stage.reset();
    await fillAt("agent.merge.begun", () => mergingDown.act(stage));
    await eventually(async () => (await mergeOf(stage.cluster))?.mergeWaitsFor === "space.insufficient", {
      deadlineMs: 20_000,
    });
    expect(await isMerged(stage.cluster)).toBe(false);
    await disk.clear();
    await eventually(() => isMerged(stage.cluster), { deadlineMs: 30_000 });
    await expectContent(stage.cluster);
    await soundAgain();
  });

  test("with space again all of it works", async () => {
    await takeCheckpoint(stage.cluster, subject, CheckpointType.PRODUCTION_ONLY);
    await stage.reset();
    await soundAgain();
  });

  const names = async () => (await checkpointsOf(stage.cluster, subject)).map(({ name }) => name);

  let last = "";
  async function create(type: CheckpointType): Promise<Operation> {
    last = `full-${crypto.randomUUID().slice(0, 8)}`;
    const { name } = await stage.cluster.api.checkpoints.createCheckpoint({
      parent: subject,
      displayName: last,
      type,
    });
    return await untilDone(stage.cluster.api.operations, name);
  }

  /** Fills the disk to its last block when the agent comes by a point in the middle of its work. */
  async function fillAt<Result>(point: keyof typeof points, act: () => Promise<Result>): Promise<Result> {
    await stage.failpoints.arm(point);
    const [ended] = await Promise.all([act(), stage.failpoints.untilFired(point).then(() => disk.fill(0))]);
    run().fault("full disk", point);
    return ended;
  }

  /** With space again the VM goes on by itself, its guest writes, its chain is sound, and nothing unfinished is there. */
  async function soundAgain(): Promise<void> {
    await disk.clear();
    const runs = () => untilVm(stage.cluster.api.vms, subject, (vm) => vm.state === VmState.RUNNING);
    await run().recovers("the VM runs", runs);
    await runInGuest(stage.cluster, subject, "sh", "-c", "echo alive >/data/alive && sync");
    const [qemu] = await findQemus(stage.cluster.agentData);
    if (qemu === undefined) throw new Error("no QEMU runs");
    await checkChain(qemu);
    await checkInvariants(stage.cluster);
  }
});
