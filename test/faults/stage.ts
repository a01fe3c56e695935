import { join } from "node:path";
import { CheckpointType } from "#contracts/vm/v1/vm";
import { createRegistryClient, importVmImage } from "#libs/oci";
import { eventually, temporaryFolder } from "#libs/testing";
import { buildGuest } from "../guest/build.ts";
import { type Cluster, startCluster } from "../harness/cluster.ts";
import { FailpointSwitch } from "../harness/failpoint-switch.ts";
import { finish, untilVm } from "../harness/vm-client.ts";
import { carryThrough } from "./patient-api.ts";

export const subject = "projects/default/vms/subject";
export const cold = "projects/default/vms/cold";

/** A cluster with a guest that runs, a standard checkpoint of it to begin each case from, and a VM that is off. */
export interface Stage extends AsyncDisposable {
  readonly cluster: Cluster;
  readonly failpoints: FailpointSwitch;
  /** Name of the standard checkpoint that every case begins from. */
  readonly base: string;
  /** Name of a production checkpoint of the subject. */
  readonly production: string;
  /** Brings the subject back to where every case begins: running, its agent answering. Half a second. */
  reset(): Promise<void>;
}

export async function setStage(failpointNames: readonly string[]): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(temporaryFolder());
  const failpoints = await FailpointSwitch.create(join(folder.path, "failpoints"), failpointNames);
  const cluster = stack.use(await startCluster({ STILLPOINT_FAILPOINTS: failpoints.specification }));
  await importGuest(cluster);
  const { vms, operations } = cluster.api;
  stack.defer(() => deleteEveryVm(cluster));
  const spec = { image: "linux:guest", cpus: 1, memoryBytes: 256 * 2 ** 20 };
  await finish(operations, (await vms.createVm({ parent: "projects/default", vmId: "cold", spec })).name);
  const started = { parent: "projects/default", vmId: "subject", spec, start: true };
  await finish(operations, (await vms.createVm(started)).name);
  await untilVm(vms, subject, ({ guestAgent }) => guestAgent?.connected === true);
  const base = await takeCheckpoint(cluster, "base", CheckpointType.STANDARD);
  const production = await takeCheckpoint(cluster, "production", CheckpointType.PRODUCTION_ONLY);
  const owned = stack.move();
  const reset = async () => {
    await carryThrough(cluster, (requestId) => cluster.api.checkpoints.applyCheckpoint({ name: base, requestId }));
    await runInGuest(cluster, "true");
  };
  return { cluster, failpoints, base, production, reset, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Takes a checkpoint of the subject and gives its name. */
export async function takeCheckpoint(cluster: Cluster, displayName: string, type: CheckpointType): Promise<string> {
  await carryThrough(cluster, (requestId) =>
    cluster.api.checkpoints.createCheckpoint({ parent: subject, displayName, type, requestId }),
  );
  const { checkpoints } = await cluster.api.checkpoints.listCheckpoints({ parent: subject });
  const found = checkpoints.find((checkpoint) => checkpoint.displayName === displayName);
  if (found === undefined) throw new Error(`checkpoint ${displayName} is not listed after its operation succeeded`);
  return found.name;
}

/** Runs a command in the subject; waits while its agent is away. A frozen guest never answers. */
export async function runInGuest(cluster: Cluster, ...command: string[]): Promise<void> {
  await eventually(
    async () => {
      for await (const { exitCode } of cluster.api.vms.execVm({ name: subject, command, timeoutSeconds: 10 })) {
        if (exitCode !== undefined) return exitCode === 0;
      }
      return false;
    },
    { deadlineMs: 40_000, everyMs: 100 },
  );
}

async function importGuest(cluster: Cluster): Promise<void> {
  const guest = await buildGuest();
  await importVmImage({
    file: guest.disk,
    reference: "linux:guest",
    registry: createRegistryClient({ address: cluster.registryUrl }),
    kernel: guest.kernel,
    initrd: guest.initrd,
    cmdline: guest.cmdline,
  });
}

async function deleteEveryVm(cluster: Cluster): Promise<void> {
  const { vms } = await cluster.api.vms.listVms({ parent: "projects/default" });
  for (const { name } of vms) {
    await carryThrough(cluster, (requestId) =>
      cluster.api.vms.deleteVm({ name, force: true, withCheckpoints: true, requestId }),
    );
  }
}
