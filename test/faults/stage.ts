import { join } from "node:path";
import { CheckpointType, VmState } from "#contracts/vm/v1/vm";
import { isStillpointError } from "#libs/errors";
import { createRegistryClient, importVmImage } from "#libs/oci";
import { eventually, temporaryFolder } from "#libs/testing";
import { buildGuest } from "../guest/build.ts";
import { type Cluster, startCluster } from "../harness/cluster.ts";
import { type FailpointAction, FailpointSwitch } from "../harness/failpoint-switch.ts";
import { untilVm } from "../harness/vm-client.ts";
import { carryThrough, untilAnswered } from "./patient-api.ts";

const parent = "projects/default";
export const subject = `${parent}/vms/subject`;
export const cold = `${parent}/vms/cold`;

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

/**
 * @param actions what each failpoint does when it is armed, by name
 * @param env added to every service's environment
 * @param wish what the subject is to be like
 */
export async function setStage(
  actions: Readonly<Record<string, FailpointAction>>,
  env: Readonly<Record<string, string>> = {},
  wish: VmWish = {},
): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(temporaryFolder());
  const failpoints = await FailpointSwitch.create(join(folder.path, "failpoints"), actions);
  const cluster = stack.use(await startCluster({ ...env, STILLPOINT_FAILPOINTS: failpoints.specification }));
  await importGuest(cluster);
  stack.defer(() => deleteEveryVm(cluster));
  await ensureVm(cluster, cold, {});
  await ensureVm(cluster, subject, { ...wish, start: true });
  await untilVm(cluster.api.vms, subject, ({ guestAgent }) => guestAgent?.connected === true);
  const base = await takeCheckpoint(cluster, subject, CheckpointType.STANDARD);
  const production = await takeCheckpoint(cluster, subject, CheckpointType.PRODUCTION_ONLY);
  const owned = stack.move();
  const reset = async () => {
    await carryThrough(cluster, (requestId) => cluster.api.checkpoints.applyCheckpoint({ name: base, requestId }));
    await runInGuest(cluster, subject, "true");
  };
  return { cluster, failpoints, base, production, reset, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

interface VmWish {
  readonly start?: boolean;
  readonly kernelArgs?: string;
  readonly memoryMiB?: number;
  /** How long its guest may stand frozen. */
  readonly freezeSeconds?: number;
}

/** A VM from the guest's image; the one that is there already is taken as it is. */
export async function ensureVm(
  cluster: Cluster,
  name: string,
  { start = false, kernelArgs = "", memoryMiB = 256, freezeSeconds = 10 }: VmWish,
): Promise<void> {
  const { vms } = cluster.api;
  const freezeWindow = { seconds: freezeSeconds };
  const spec = { image: "linux:guest", cpus: 1, memoryBytes: memoryMiB * 2 ** 20, kernelArgs, freezeWindow };
  const vmId = name.split("/").at(-1) ?? "";
  await carryThrough(cluster, (requestId) => vms.createVm({ parent, vmId, spec, start, requestId })).catch(
    (error: unknown) => {
      if (!isStillpointError(error, "VM_EXISTS")) throw error;
    },
  );
}

/** Takes a checkpoint and gives its name. */
export async function takeCheckpoint(cluster: Cluster, vm: string, type: CheckpointType): Promise<string> {
  const displayName = `${type.toLowerCase()}-${crypto.randomUUID().slice(0, 8)}`;
  await carryThrough(cluster, (requestId) =>
    cluster.api.checkpoints.createCheckpoint({ parent: vm, displayName, type, requestId }),
  );
  const found = (await checkpointsOf(cluster, vm)).filter((checkpoint) => checkpoint.displayName === displayName);
  const [made] = found;
  if (made === undefined || found.length > 1) {
    throw new Error(`${found.length} checkpoints are called ${displayName} after its operation succeeded`);
  }
  return made.name;
}

export async function checkpointsOf({ api }: Cluster, vm: string) {
  return (await untilAnswered(() => api.checkpoints.listCheckpoints({ parent: vm }))).checkpoints;
}

/** Runs a command in a guest and gives what it printed; waits while its agent is away. A frozen guest never answers. */
export async function runInGuest({ api }: Cluster, name: string, ...command: string[]): Promise<string> {
  const { printed } = await eventually(
    async () => {
      let text = "";
      for await (const { exitCode, stdout } of api.vms.execVm({ name, command, timeoutSeconds: 10 })) {
        text += Buffer.from(stdout).toString();
        if (exitCode !== undefined) return exitCode === 0 && { printed: text };
      }
      return false;
    },
    { deadlineMs: 40_000, everyMs: 100 },
  );
  return printed;
}

export async function stopByForce(cluster: Cluster, name: string): Promise<void> {
  await carryThrough(cluster, (requestId) => cluster.api.vms.stopVm({ name, force: true, requestId }));
  await untilVm(cluster.api.vms, name, ({ state }) => state === VmState.STOPPED);
}

export async function deleteVm(cluster: Cluster, name: string): Promise<void> {
  await carryThrough(cluster, (requestId) =>
    cluster.api.vms.deleteVm({ name, force: true, withCheckpoints: true, withProtected: true, requestId }),
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
  const { vms } = await cluster.api.vms.listVms({ parent });
  for (const { name } of vms) await deleteVm(cluster, name);
}
