import { type ContainersClient, CreateContainerRequest } from "#contracts/container/v1/container";
import type { Operation } from "#contracts/operation/v1/operation";
import { CreateVmRequest, type VmsClient } from "#contracts/vm/v1/vm";
import type { Json } from "#libs/records";
import { isContainerName } from "../records/workload-record.ts";

/** The services that own the records of VMs and of containers. */
export interface WorkloadServices {
  readonly vmService: Pick<VmsClient, "createVm" | "deleteVm">;
  readonly containerService: Pick<ContainersClient, "createContainer" | "deleteContainer">;
}

interface WorkloadService {
  /** @param request ProtoJSON, without its request id */
  create(request: Json, requestId: string, signal: AbortSignal): Promise<Operation>;
  /** With all that it has, also while it runs. */
  remove(): Promise<Operation>;
}

/** Makes and removes the VM or container of that name. */
export function serviceOf({ vmService, containerService }: WorkloadServices, name: string): WorkloadService {
  const removal = { name, force: true, withCheckpoints: true, withProtected: true };
  if (isContainerName(name)) {
    return {
      create: (request, requestId, signal) =>
        containerService.createContainer({ ...CreateContainerRequest.fromJSON(request), requestId }, { signal }),
      remove: () => containerService.deleteContainer(removal),
    };
  }
  return {
    create: (request, requestId, signal) =>
      vmService.createVm({ ...CreateVmRequest.fromJSON(request), requestId }, { signal }),
    remove: () => vmService.deleteVm(removal),
  };
}
