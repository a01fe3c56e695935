import { CheckpointKind } from "#contracts/checkpoint/v1/checkpoint";
import { CheckpointType, VmState } from "#contracts/vm/v1/vm";
import { untilVm } from "../harness/vm-client.ts";
import type { ScenarioName } from "./kill-points.ts";
import { carryThrough } from "./patient-api.ts";
import { cold, runInGuest, type Stage, subject, takeCheckpoint } from "./stage.ts";

/** A job under fault: what is done, what must be true afterwards whatever was killed, and how the stage is cleared. */
export interface Scenario {
  readonly prepare?: (stage: Stage) => Promise<void>;
  /** Gives the name of what it made. */
  readonly act: (stage: Stage) => Promise<string>;
  readonly verify: (stage: Stage, made: string) => Promise<void>;
  readonly cleanUp?: (stage: Stage, made: string) => Promise<void>;
}

export const scenarios: Readonly<Record<ScenarioName, Scenario>> = {
  create: {
    async act({ cluster }) {
      const vmId = `fresh-${crypto.randomUUID().slice(0, 8)}`;
      const spec = { image: "linux:guest", cpus: 1, memoryBytes: 128 * 2 ** 20 };
      await carryThrough(cluster, (requestId) =>
        cluster.api.vms.createVm({ parent: "projects/default", vmId, spec, start: true, requestId }),
      );
      return `projects/default/vms/${vmId}`;
    },
    verify: expectState(VmState.RUNNING),
    async cleanUp({ cluster }, name) {
      await carryThrough(cluster, (requestId) => cluster.api.vms.deleteVm({ name, force: true, requestId }));
    },
  },
  start: {
    async act({ cluster }) {
      await carryThrough(cluster, (requestId) => cluster.api.vms.startVm({ name: cold, requestId }));
      return cold;
    },
    verify: expectState(VmState.RUNNING),
    async cleanUp({ cluster }) {
      await carryThrough(cluster, (requestId) => cluster.api.vms.stopVm({ name: cold, force: true, requestId }));
    },
  },
  production: {
    act: ({ cluster }) => takeCheckpoint(cluster, "under-fault", CheckpointType.PRODUCTION),
    verify: verifyCheckpoint(CheckpointKind.PRODUCTION),
    cleanUp: deleteCheckpoint,
  },
  standard: {
    act: ({ cluster }) => takeCheckpoint(cluster, "under-fault", CheckpointType.STANDARD),
    verify: verifyCheckpoint(CheckpointKind.STANDARD),
    cleanUp: deleteCheckpoint,
  },
  "apply-production": {
    act: (stage) => apply(stage, stage.production),
    verify: (stage) => expectState(VmState.STOPPED)(stage, subject),
  },
  "apply-standard": {
    act: (stage) => apply(stage, stage.base),
    async verify(stage) {
      await expectState(VmState.RUNNING)(stage, subject);
      await runInGuest(stage.cluster, "sync");
    },
  },
};

async function apply({ cluster }: Stage, name: string): Promise<string> {
  await carryThrough(cluster, (requestId) => cluster.api.checkpoints.applyCheckpoint({ name, requestId }));
  return name;
}

function expectState(expected: VmState) {
  return async ({ cluster }: Stage, name: string) => {
    await untilVm(cluster.api.vms, name, ({ state }) => state === expected);
  };
}

/** One such checkpoint, and the guest writes: nobody left it frozen. A fallback is a truth too, if it is told. */
function verifyCheckpoint(expected: CheckpointKind) {
  return async ({ cluster }: Stage, name: string) => {
    const { kind, fellBack, reason } = await cluster.api.checkpoints.getCheckpoint({ name });
    const told = fellBack && reason !== "" && kind === CheckpointKind.STANDARD;
    if (kind !== expected && !told) throw new Error(`the checkpoint is ${kind}, fell back: ${fellBack} ${reason}`);
    const { checkpoints } = await cluster.api.checkpoints.listCheckpoints({ parent: subject });
    const made = checkpoints.filter(({ displayName }) => displayName === "under-fault");
    if (made.length !== 1) throw new Error(`${made.length} checkpoints were made`);
    await runInGuest(cluster, "sh", "-c", "echo alive >/data/alive && sync");
  };
}

async function deleteCheckpoint({ cluster }: Stage, name: string): Promise<void> {
  await carryThrough(cluster, (requestId) => cluster.api.checkpoints.deleteCheckpoint({ name, requestId }));
}
