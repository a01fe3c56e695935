import { CheckpointKind } from "#contracts/checkpoint/v1/checkpoint";
import { OperationState } from "#contracts/operation/v1/operation";
import { CheckpointType, VmState } from "#contracts/vm/v1/vm";
import { untilVm } from "../harness/vm-client.ts";
import { cloning, cloningInVain, drilling, expectNoVm } from "./clone-scenarios.ts";
import { grouping, ungrouping } from "./group-scenarios.ts";
import type { ScenarioName } from "./kill-points.ts";
import { deleteCheckpoint, mergingDown, mergingUp } from "./merge-scenarios.ts";
import { carryThrough, carryToEnd } from "./patient-api.ts";
import type { Scenario } from "./scenario.ts";
import { scheduling } from "./schedule-scenarios.ts";
import {
  checkpointsOf,
  cold,
  deleteVm,
  ensureVm,
  runInGuest,
  type Stage,
  stopByForce,
  subject,
  takeCheckpoint,
} from "./stage.ts";
import { transportScenarios } from "./transport-scenarios.ts";

const doomed = "projects/default/vms/doomed";
/** Its guest vetoes every freeze. */
const vetoing = "projects/default/vms/vetoing";
const reset = (stage: Stage) => stage.reset();

export const scenarios: Readonly<Record<ScenarioName, Scenario>> = {
  create: {
    async act({ cluster }) {
      const name = `projects/default/vms/fresh-${crypto.randomUUID().slice(0, 8)}`;
      await ensureVm(cluster, name, { start: true, memoryMiB: 128 });
      return name;
    },
    verify: expectState(VmState.RUNNING),
    cleanUp: ({ cluster }, name) => deleteVm(cluster, name),
  },
  start: { act: startCold, verify: expectState(VmState.RUNNING), cleanUp: ({ cluster }) => stopByForce(cluster, cold) },
  stop: {
    prepare: reset,
    async act({ cluster }) {
      await carryThrough(cluster, (requestId) => cluster.api.vms.stopVm({ name: subject, requestId }));
      return subject;
    },
    verify: expectState(VmState.STOPPED),
  },
  "delete-vm": {
    async prepare({ cluster }) {
      await ensureVm(cluster, doomed, { memoryMiB: 128 });
      await takeCheckpoint(cluster, doomed, CheckpointType.STANDARD);
      await carryThrough(cluster, (requestId) => cluster.api.vms.startVm({ name: doomed, requestId }));
    },
    async act({ cluster }) {
      await deleteVm(cluster, doomed);
      return doomed;
    },
    verify: expectNoVm,
  },
  production: checkpointing(subject, CheckpointType.PRODUCTION, CheckpointKind.PRODUCTION),
  standard: checkpointing(subject, CheckpointType.STANDARD, CheckpointKind.STANDARD),
  offline: {
    act: ({ cluster }) => takeCheckpoint(cluster, cold, CheckpointType.PRODUCTION),
    verify: (stage, name) => verifyCheckpoint(stage, name, CheckpointKind.PRODUCTION),
    cleanUp: deleteCheckpoint,
  },
  fallback: {
    ...checkpointing(vetoing, CheckpointType.PRODUCTION, CheckpointKind.STANDARD),
    prepare: prepareVetoing,
  },
  refused: { prepare: prepareVetoing, act: askTheImpossible, verify: expectNothingTaken },
  "apply-production": {
    prepare: reset,
    act: (stage) => apply(stage, stage.production),
    verify: (stage) => expectState(VmState.STOPPED)(stage, subject),
  },
  "apply-standard": {
    prepare: reset,
    act: (stage) => apply(stage, stage.base),
    async verify(stage) {
      await expectState(VmState.RUNNING)(stage, subject);
      await runInGuest(stage.cluster, subject, "sync");
    },
  },
  "delete-checkpoint": mergingUp,
  "delete-oldest": mergingDown,
  clone: cloning,
  "clone-in-vain": cloningInVain,
  drill: drilling,
  schedule: scheduling,
  "group-create": grouping,
  "group-delete": ungrouping,
  ...transportScenarios,
};

async function startCold({ cluster }: Stage): Promise<string> {
  await carryThrough(cluster, (requestId) => cluster.api.vms.startVm({ name: cold, requestId }));
  return cold;
}

async function apply({ cluster }: Stage, name: string): Promise<string> {
  await carryThrough(cluster, (requestId) => cluster.api.checkpoints.applyCheckpoint({ name, requestId }));
  return name;
}

function expectState(expected: VmState) {
  return async ({ cluster }: Stage, name: string) => {
    await untilVm(cluster.api.vms, name, ({ state }) => state === expected);
  };
}

function checkpointing(vm: string, type: CheckpointType, kind: CheckpointKind): Scenario {
  return {
    prepare: reset,
    act: ({ cluster }) => takeCheckpoint(cluster, vm, type),
    async verify(stage, name) {
      await verifyCheckpoint(stage, name, kind);
      await expectAlive(stage, vm);
    },
    cleanUp: deleteCheckpoint,
  };
}

/** A fallback is a truth too, if it is told. */
async function verifyCheckpoint({ cluster }: Stage, name: string, expected: CheckpointKind): Promise<void> {
  const { kind, fellBack, reason } = await cluster.api.checkpoints.getCheckpoint({ name });
  const told = fellBack && reason !== "" && kind === CheckpointKind.STANDARD;
  if (kind !== expected && !told) throw new Error(`the checkpoint is ${kind}, fell back: ${fellBack} ${reason}`);
}

/** The guest writes: nobody left it frozen. */
async function expectAlive({ cluster }: Stage, vm: string): Promise<void> {
  await runInGuest(cluster, vm, "sh", "-c", "echo alive >/data/alive && sync");
}

async function prepareVetoing({ cluster }: Stage): Promise<void> {
  await ensureVm(cluster, vetoing, { start: true, kernelArgs: "stillpoint.hook=fail" });
  await runInGuest(cluster, vetoing, "true");
}

/** Gives what came of it: the refusal's reason. */
async function askTheImpossible({ cluster }: Stage): Promise<string> {
  const type = CheckpointType.PRODUCTION_ONLY;
  const { state, error } = await carryToEnd(cluster, (requestId) =>
    cluster.api.checkpoints.createCheckpoint({ parent: vetoing, displayName: "never", type, requestId }),
  );
  if (state !== OperationState.FAILED) throw new Error(`production-only on a guest that vetoes is ${state}`);
  return error?.reason ?? "";
}

async function expectNothingTaken(stage: Stage, reason: string): Promise<void> {
  if (reason !== "PRODUCTION_NOT_REACHED") throw new Error(`it was refused for ${reason}`);
  const left = await checkpointsOf(stage.cluster, vetoing);
  if (left.length > 0) throw new Error(`left behind: ${left.map(({ displayName }) => displayName).join(", ")}`);
  await expectAlive(stage, vetoing);
}
