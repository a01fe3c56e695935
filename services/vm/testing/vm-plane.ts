import { Workload, WorkloadState } from "#contracts/host/v1/agent";
import { type VmsClient, VmsDefinition } from "#contracts/vm/v1/vm";
import { createRpcClient } from "#libs/rpc";
import { type Effect, startTestControlPlane, type TestControlPlane } from "#libs/workload-testing";
import { readVmConfig } from "../config.ts";
import { startVm } from "../service.ts";

/** The real VM service on real servers, and a client of it. */
export interface VmPlane extends TestControlPlane {
  readonly vms: VmsClient;
}

export async function startVmPlane(): Promise<VmPlane> {
  const plane = await startTestControlPlane({
    word: "vm",
    effect,
    start: (env, lifecycle, server) => startVm(readVmConfig(env), lifecycle, { server }),
  });
  const vms = plane.lifecycle.add("client", createRpcClient(VmsDefinition, plane.address), (it) => it.close());
  return Object.assign(plane, { vms });
}

/** What a host does to a VM, as far as its state tells. */
const effect: Effect = ({ uid, action }, before) => {
  if (action?.$case === "deleteVm") return undefined;
  if (action?.$case === "createVm") {
    const name = action.value.definition?.name ?? "";
    return Workload.fromPartial({ uid, name, state: WorkloadState.STOPPED, machineType: "pc-q35-7.2" });
  }
  if (action?.$case === "setVmRecovery") return before;
  const state = states[action?.$case ?? ""] ?? WorkloadState.UNSPECIFIED;
  return Workload.fromPartial({ uid, ...before, startTime: before?.startTime ?? new Date(), state });
};

const states: Readonly<Record<string, WorkloadState>> = {
  startVm: WorkloadState.RUNNING,
  stopVm: WorkloadState.STOPPED,
  pauseVm: WorkloadState.PAUSED,
  resumeVm: WorkloadState.RUNNING,
  rebootVm: WorkloadState.RUNNING,
};
