import { expect } from "vitest";
import { OperationsDefinition } from "#contracts/operation/v1/operation";
import { CheckpointType, DrainPolicy, VmsDefinition } from "#contracts/vm/v1/vm";
import { createRpcClient } from "#libs/rpc";
import { eventually } from "#libs/testing";
import { controlPlane, untilHostsReady } from "../harness/api.ts";
import { emptyImage } from "../harness/empty-image.ts";
import type { Replica, ReplicatedCluster } from "../harness/replicated-cluster.ts";
import { isServing } from "../harness/serving.ts";
import { finish } from "../harness/vm-client.ts";
import type { FaultRun } from "./fault-run.ts";
import type { ReplicaStage } from "./replica-stage.ts";

/**
 * Stops each process as an operator does and has it come back, one after the other; those that are named in `upgraded`
 * by then come back as this version.
 */
export async function replaceAll(stage: ReplicaStage, run: FaultRun, upgraded: Set<string>): Promise<void> {
  const { api, cluster } = stage;
  const replace = async ({ name, process }: Pick<Replica, "name" | "process">) => {
    run.fault("replace", name);
    upgraded.add(name);
    const { deaths } = process;
    process.kill("SIGTERM");
    await process.untilDead(deaths, 15_000);
  };
  for (const replica of controlPlane.flatMap((service) => cluster.replicas[service])) {
    await replace(replica);
    await eventually(() => isServing(replica.address), { deadlineMs: 60_000, everyMs: 50 });
    if (replica.name === "vm-1") await keepUnknownFields(cluster);
  }
  for (const { name, agent } of cluster.hosts.values()) {
    await replace({ name, process: agent });
    await untilHostsReady(api.hosts, cluster.hosts.size);
  }
}

/** The same at once, where nobody looks on. */
export async function replaceRest(stage: ReplicaStage, upgraded: Set<string>): Promise<void> {
  const rest = [...stage.processes].filter(([name]) => !upgraded.has(name));
  for (const [name, process] of rest) {
    upgraded.add(name);
    process.kill("SIGKILL");
  }
  for (const [name] of rest) await eventually(() => isServing(stage.addressOf(name)), { deadlineMs: 60_000 });
  if (rest.length > 0) await untilHostsReady(stage.api.hosts, stage.agentFolders.length);
}

/** What the newer replica has written and the older one does not know outlives a change by the older one. */
async function keepUnknownFields({ replicas }: ReplicatedCluster): Promise<void> {
  const [newer, older] = replicas.vm.map(({ address }) => createRpcClient(VmsDefinition, address));
  if (newer === undefined || older === undefined) throw new Error("there are no two replicas");
  const operations = createRpcClient(OperationsDefinition, replicas.operation.map(({ address }) => address).join());
  const parent = "projects/default";
  const name = `${parent}/vms/both`;
  const spec = { image: emptyImage, cpus: 1, memoryBytes: 64 * 2 ** 20, drain: DrainPolicy.MOVE };
  await finish(operations, (await newer.createVm({ parent, vmId: "both", spec })).name ?? "");
  await older.setCheckpointType({ name, checkpointType: CheckpointType.STANDARD });
  const { spec: after } = await newer.getVm({ name });
  expect(after).toMatchObject({ drain: DrainPolicy.MOVE, checkpointType: CheckpointType.STANDARD });
  await finish(operations, (await older.deleteVm({ name })).name ?? "");
  for (const client of [newer, older, operations]) client.close();
}
