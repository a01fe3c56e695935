import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { eventually, temporaryFolder } from "#libs/testing";
import { takeIdentity } from "#libs/tls";
import { type Api, connectApi, controlPlane } from "../harness/api.ts";
import { type DeployedCluster, startDeployedCluster } from "../harness/deployed-cluster.ts";
import { natsNodes } from "../harness/deployed-servers.ts";
import { WallClocks } from "../harness/wall-clocks.ts";

export const parent = "projects/default";
export const leased = `${parent}/vms/leased`;

/** The first recovery point waits so long for a guest's agent after a start, and there is none here. */
const aMinuteMs = 61_000;

/** Everything as it is deployed, each with an address of its own, and a VM that is recovered when its host is away. */
export interface PartitionStage extends AsyncDisposable {
  readonly cluster: DeployedCluster;
  /** Through the gateway, as an admin. */
  readonly api: Api;
  /** Machines of the control plane: what hosts speak with. */
  readonly control: readonly string[];
}

export async function setPartitionStage(): Promise<PartitionStage> {
  await using stack = new AsyncDisposableStack();
  const { path: folder } = stack.use(temporaryFolder());
  const clocks = await WallClocks.create(join(stack.use(temporaryFolder()).path, "clocks"));
  const envOf = (name: string) => (name.startsWith("checkpoint") ? clocks.envOf(name) : {});
  for (const name of ["checkpoint-1", "checkpoint-2"]) await clocks.set(name, { aheadMs: aMinuteMs });
  const cluster = stack.use(await startDeployedCluster({ folder, hosts: ["n1", "n2", "n3"], envOf }));
  takeIdentity(cluster.env);
  stack.defer(() => takeIdentity({}));
  const services = controlPlane.map((service) => [service, cluster.address]);
  const api = connectApi(Object.fromEntries(services) as Parameters<typeof connectApi>[0]);
  await importBlank(cluster);
  const sizes = { image: "blank:1", cpus: 1, memoryBytes: 64 * 2 ** 20 };
  const spec = { ...sizes, recovery: "RECOVERY_RESTART", recoveryPoint: { seconds: 60, nanos: 0 } } as const;
  // The third host is where nothing is ever cut off.
  await api.hosts.cordonHost({ name: "hosts/n3" });
  await api.finish(await api.vms.createVm({ parent, vmId: "leased", spec, start: true }));
  await api.hosts.uncordonHost({ name: "hosts/n3" });
  const owned = stack.move();
  const control = ["control-1", "control-2", "proxy", ...natsNodes];
  return { cluster, api, control, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function importBlank(cluster: DeployedCluster): Promise<void> {
  const file = join(cluster.folder, "blank.raw");
  await writeFile(file, Buffer.alloc(2 ** 20));
  const { code, stderr } = await cluster.stillpoint("image", "import", file, "blank:1", "--format", "raw");
  if (code !== 0) throw new Error(stderr);
}

/** Without a point it is not recovered. */
export async function untilItHasAPoint({ api }: PartitionStage): Promise<void> {
  const hasOne = async () => ((await api.vms.getVm({ name: leased })).recoveryPoint?.reference ?? "") !== "";
  await eventually(() => hasOne().catch(() => false), { deadlineMs: 120_000, everyMs: 500 });
}

/** What NATS refused that somebody wanted: it gives no more rights than are needed. */
export async function refusalsOf({ cluster: { folder } }: PartitionStage): Promise<string[]> {
  const logs = await Promise.all(natsNodes.map((node) => readFile(join(folder, `${node}.log`), "utf8")));
  return logs.flatMap((text) => text.split("\n").filter((line) => line.includes("Permissions Violation")));
}
