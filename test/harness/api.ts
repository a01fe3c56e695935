import { CheckpointsDefinition } from "#contracts/checkpoint/v1/checkpoint";
import { GroupsDefinition } from "#contracts/checkpoint/v1/group";
import { SchedulesDefinition } from "#contracts/checkpoint/v1/schedule";
import { ContainersDefinition } from "#contracts/container/v1/container";
import { EventsDefinition } from "#contracts/event/v1/event";
import { type HostsClient, HostsDefinition, SchedulerDefinition } from "#contracts/scheduler/v1/scheduler";
import { createRpcClient, type RpcClientOptions } from "#libs/rpc";
import { accepts, eventually } from "#libs/testing";
import { connectVms } from "./vm-client.ts";

/** Every service of the control plane but the agents. */
export const controlPlane = ["operation", "scheduler", "registry", "vm", "container", "checkpoint"] as const;
export type ControlPlaneService = (typeof controlPlane)[number];

export type Api = ReturnType<typeof connectApi>;

/** Clients of all services, each at its address. */
export function connectApi(at: Readonly<Record<ControlPlaneService, string>>, options: RpcClientOptions = {}) {
  return {
    ...connectVms(at.vm, at.operation, options),
    containers: createRpcClient(ContainersDefinition, at.container, options),
    checkpoints: createRpcClient(CheckpointsDefinition, at.checkpoint, options),
    groups: createRpcClient(GroupsDefinition, at.checkpoint, options),
    schedules: createRpcClient(SchedulesDefinition, at.checkpoint, options),
    events: createRpcClient(EventsDefinition, at.operation, options),
    hosts: createRpcClient(HostsDefinition, at.scheduler, options),
    scheduler: createRpcClient(SchedulerDefinition, at.scheduler, options),
  };
}

/** Waits until these many hosts are ready. */
export async function untilHostsReady(hosts: HostsClient, count: number): Promise<void> {
  const areReady = async () => {
    const listed = await hosts.listHosts({}).catch(() => undefined);
    return listed?.hosts.filter(({ state }) => state === "HOST_STATE_READY").length === count;
  };
  await eventually(areReady, { deadlineMs: 60_000 });
}

/** Waits until somebody listens at each host:port. */
export async function untilListening(addresses: readonly string[]): Promise<void> {
  for (const address of addresses) {
    const [host = "", port] = address.split(":");
    await eventually(() => accepts(Number(port), host), { deadlineMs: 90_000, everyMs: 50 });
  }
}
