import { connectApi, controlPlane } from "../harness/api.ts";
import { emptyImage, importEmpty } from "../harness/empty-image.ts";
import { findQemus } from "../harness/qemu-process.ts";
import {
  type ReplicatedCluster,
  type ReplicatedOptions,
  startReplicatedCluster,
} from "../harness/replicated-cluster.ts";
import type { SupervisedProcess } from "../harness/supervised-process.ts";
import { LogsHistory } from "./logs-history.ts";

/** Two replicas of everything with a reader of all their writes, and clients that know every replica. */
export interface ReplicaStage extends AsyncDisposable {
  readonly cluster: ReplicatedCluster;
  /** Clients of the replicas themselves: the client library chooses, and there is no proxy that repairs anything. */
  readonly api: ReplicatedCluster["api"];
  readonly history: LogsHistory;
  /** Every process of ours, by name. */
  readonly processes: ReadonlyMap<string, SupervisedProcess>;
  /** Addresses of the other processes that do the same. */
  readonly peersOf: (name: string) => readonly string[];
  /** Where a process of ours answers. */
  readonly addressOf: (name: string) => string;
  readonly agentFolders: readonly string[];
  /** A VM that is off. */
  readonly member: string;
}

export async function setReplicaStage(options: ReplicatedOptions = {}): Promise<ReplicaStage> {
  await using stack = new AsyncDisposableStack();
  const cluster = stack.use(await startReplicatedCluster(options));
  const history = stack.use(await LogsHistory.follow(cluster.nats.url));
  const api = connectApi(
    Object.fromEntries(
      controlPlane.map((service) => [service, cluster.replicas[service].map(({ address }) => address).join(",")]),
    ) as Parameters<typeof connectApi>[0],
  );
  const hosts = [...cluster.hosts.values()];
  const processes = new Map([
    ...controlPlane.flatMap((service) =>
      cluster.replicas[service].map(({ name, process }) => [name, process] as const),
    ),
    ...hosts.map(({ name, agent }) => [name, agent] as const),
  ]);
  const peersOf = (name: string) => {
    const replicas = controlPlane.map((service) => cluster.replicas[service]);
    const mates = replicas.find((each) => each.some((replica) => replica.name === name)) ?? [];
    return mates.filter((replica) => replica.name !== name).map(({ address }) => address);
  };
  const addressOf = (name: string) => {
    const replica = controlPlane.flatMap((service) => cluster.replicas[service]).find((it) => it.name === name);
    return replica?.address ?? cluster.hosts.get(name)?.address ?? "";
  };
  const member = await makeMember(cluster, api);
  // Guests outlive everything of ours.
  stack.defer(async () => {
    for (const { data } of hosts) for (const { pid } of await findQemus(data)) process.kill(pid, "SIGKILL");
  });
  const owned = stack.move();
  return {
    ...{ cluster, api, history, processes, peersOf, addressOf, member, agentFolders: hosts.map(({ data }) => data) },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function makeMember(cluster: ReplicatedCluster, api: ReplicatedCluster["api"]): Promise<string> {
  await importEmpty(cluster);
  const parent = "projects/default";
  const spec = { image: emptyImage, cpus: 1, memoryBytes: 64 * 2 ** 20 };
  await api.finish(await api.vms.createVm({ parent, vmId: "member", spec }));
  return `${parent}/vms/member`;
}
