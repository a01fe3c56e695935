import { CheckpointType } from "#contracts/vm/v1/vm";
import { eventually } from "#libs/testing";
import type { Cluster } from "../harness/cluster.ts";
import { carryThrough } from "./patient-api.ts";
import type { Scenario } from "./scenario.ts";
import { checkpointsOf, runInGuest, type Stage, subject, takeCheckpoint } from "./stage.ts";

/** A layer that holds little is merged into the one above it. */
export const mergingUp: Scenario = merging("echo small >/data/below", CheckpointType.STANDARD);

/** A layer that holds much takes in the one above it, which is written to. */
export const mergingDown: Scenario = merging(
  "dd if=/dev/urandom of=/data/below bs=1M count=72 2>/dev/null",
  CheckpointType.PRODUCTION_ONLY,
);

function merging(write: string, type: CheckpointType): Scenario {
  return {
    prepare: (stage) => stage.reset(),
    async act(stage) {
      const { cluster } = stage;
      await inGuest(cluster, `${write}; sha256sum /data/below >/data/sums; sync`);
      const name = await takeCheckpoint(cluster, subject, type);
      await inGuest(
        cluster,
        "dd if=/dev/urandom of=/data/above bs=1M count=2 2>/dev/null; sha256sum /data/above >>/data/sums; sync",
      );
      await deleteCheckpoint(stage, name);
      return name;
    },
    verify: expectMerged,
  };
}

export async function deleteCheckpoint({ cluster }: Stage, name: string): Promise<void> {
  await carryThrough(cluster, (requestId) => cluster.api.checkpoints.deleteCheckpoint({ name, requestId }));
}

/**
 * The checkpoint is gone, its layer is merged, and what was written before and after it is there, now and for a new
 * reader of the disk.
 */
async function expectMerged({ cluster }: Stage, name: string): Promise<void> {
  const left = await checkpointsOf(cluster, subject);
  if (left.some((checkpoint) => checkpoint.name === name)) throw new Error(`${name} is still listed`);
  await eventually(() => isMerged(cluster), { deadlineMs: 30_000, everyMs: 100 });
  await expectContent(cluster);
}

/** What the scenario wrote, read from the disk. */
export async function expectContent(cluster: Cluster): Promise<void> {
  const printed = await inGuest(cluster, "echo 3 >/proc/sys/vm/drop_caches; sha256sum -c /data/sums");
  if (printed !== "/data/below: OK\n/data/above: OK\n") throw new Error(`the guest reads: ${printed}`);
}

/** Live, from its host. */
export async function isMerged(cluster: Cluster): Promise<boolean> {
  return (await mergeOf(cluster))?.mergeDebtBytes === 0;
}

export async function mergeOf({ api }: Cluster) {
  const { uid } = await api.vms.getVm({ name: subject });
  return (await api.agent.getWorkload({ uid })).storage;
}

function inGuest(cluster: Cluster, script: string): Promise<string> {
  return runInGuest(cluster, subject, "sh", "-c", script);
}
