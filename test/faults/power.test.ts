import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Checkpoint, CheckpointKind, Consistency } from "#contracts/checkpoint/v1/checkpoint";
import { type Operation, OperationState } from "#contracts/operation/v1/operation";
import { CheckpointType, VmState } from "#contracts/vm/v1/vm";
import { findQemus } from "../harness/qemu-process.ts";
import { expectSuccess, untilDone, untilVm } from "../harness/vm-client.ts";
import { faultRuns } from "./fault-run.ts";
import { checkInvariants } from "./invariants.ts";
import { carryThrough } from "./patient-api.ts";
import { checkChain } from "./sound-chain.ts";
import { checkpointsOf, runInGuest, type Stage, setStage, stopByForce, subject, takeCheckpoint } from "./stage.ts";

const frozen = "agent.take-production.frozen";
const ramSent = "agent.take-standard.resumed";

/** A checkpoint, and a VM that does not stand still for it. */
describe("F5: a checkpoint of a VM", () => {
  let stage: Stage;
  const run = faultRuns(() => stage.cluster);
  beforeAll(async () => {
    stage = await setStage({ [frozen]: "delay:2500", [ramSent]: "delay:2500" });
  }, 240_000);
  afterAll(() => stage[Symbol.asyncDispose](), 120_000);
  beforeEach(() => stage.reset());

  test("that is paused: standard, which says why, and it stays paused", async () => {
    const { vms } = stage.cluster.api;
    await carryThrough(stage.cluster, (requestId) => vms.pauseVm({ name: subject, requestId }));
    const taken = await take(CheckpointType.PRODUCTION);
    expect(taken).toMatchObject({ kind: CheckpointKind.STANDARD, fellBack: true, reason: "vm.paused" });
    await untilVm(vms, subject, ({ state }) => state === VmState.PAUSED);
    await carryThrough(stage.cluster, (requestId) => vms.resumeVm({ name: subject, requestId }));
    await soundAndRunning();
  });

  test("that is off: offline, whatever the type", async () => {
    await stopByForce(stage.cluster, subject);
    await carryThrough(stage.cluster, (requestId) =>
      stage.cluster.api.checkpoints.applyCheckpoint({ name: stage.production, requestId }),
    );
    const taken = await take(CheckpointType.PRODUCTION_ONLY);
    expect(taken).toMatchObject({ kind: CheckpointKind.PRODUCTION, consistency: Consistency.OFFLINE, fellBack: false });
    await checkInvariants(stage.cluster);
  });

  test.each([
    ["frozen", CheckpointType.PRODUCTION_ONLY, frozen],
    ["about to have its RAM written", CheckpointType.STANDARD, ramSent],
  ] as const)("that is %s: whoever else wants the VM is told to wait, by name", async (_, type, point) => {
    const { checkpoints, vms } = stage.cluster.api;
    const first = await beginAt(point, type);
    const others = [
      checkpoints.createCheckpoint({ parent: subject, displayName: "second" }),
      checkpoints.applyCheckpoint({ name: stage.base }),
      vms.rebootVm({ name: subject, force: true }),
      vms.stopVm({ name: subject, force: true }),
      vms.pauseVm({ name: subject }),
    ];
    for (const refused of await Promise.allSettled(others)) {
      expect(refused).toMatchObject({
        status: "rejected",
        reason: { reason: "TARGET_BUSY", metadata: { operation: first.name } },
      });
    }
    expectSuccess(await untilDone(stage.cluster.api.operations, first.name));
    expect(await namesOf()).not.toContain("second");
    await soundAndRunning();
  });

  test.each([
    ["frozen", CheckpointType.PRODUCTION, frozen],
    ["having its RAM written", CheckpointType.STANDARD, ramSent],
  ] as const)(
    "that crashes while it is %s: the operation ends, and the VM can be started again",
    async (_, type, point) => {
      const before = await namesOf();
      const first = await beginAt(point, type);
      const [qemu] = await findQemus(stage.cluster.folder);
      process.kill(qemu?.pid ?? 0, "SIGKILL");
      run().fault("kill", "qemu");
      const ended = await untilDone(stage.cluster.api.operations, first.name);
      const added = (await namesOf()).filter((name) => !before.includes(name));
      expect(added.length).toBe(ended.state === OperationState.SUCCEEDED ? 1 : 0);
      await untilVm(stage.cluster.api.vms, subject, ({ state }) => state === VmState.CRASHED);
      await carryThrough(stage.cluster, (requestId) => stage.cluster.api.vms.startVm({ name: subject, requestId }));
      await soundAndRunning();
    },
  );

  async function take(type: CheckpointType): Promise<Checkpoint> {
    const name = await takeCheckpoint(stage.cluster, subject, type);
    return await stage.cluster.api.checkpoints.getCheckpoint({ name });
  }

  /** Begins a checkpoint; resolves when it stands at that point, where it waits for 2.5 s. */
  async function beginAt(point: string, type: CheckpointType): Promise<Operation> {
    await stage.failpoints.arm(point);
    const operation = await stage.cluster.api.checkpoints.createCheckpoint({ parent: subject, type });
    await stage.failpoints.untilFired(point);
    return operation;
  }

  async function namesOf(): Promise<string[]> {
    return (await checkpointsOf(stage.cluster, subject)).map(({ displayName }) => displayName);
  }

  async function soundAndRunning(): Promise<void> {
    await untilVm(stage.cluster.api.vms, subject, ({ state }) => state === VmState.RUNNING);
    await runInGuest(stage.cluster, subject, "sh", "-c", "echo alive >/data/alive && sync");
    const [qemu] = await findQemus(stage.cluster.folder);
    if (qemu === undefined) throw new Error("no QEMU runs");
    await checkChain(qemu);
    await checkInvariants(stage.cluster);
  }
});
