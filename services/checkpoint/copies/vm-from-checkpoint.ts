import { CreateVmRequest, Recovery, type Vm, VmSpec } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import { projectName, vmName } from "#libs/names";
import type { Json } from "#libs/records";
import type { WantedVm } from "../jobs/made-vm.ts";

interface NewVm {
  readonly project: string;
  readonly vmId: string;
  readonly labels?: Readonly<Record<string, string>>;
}

/**
 * The VM that is made from a checkpoint of another one, on the same host: of the same make, so that RAM fits, with disks
 * of the same sizes. Ports are not taken over, as they would collide. `spec` says what differs.
 */
export function vmLike(source: Vm, checkpoint: string, newVm: NewVm, differs: Partial<VmSpec> = {}): WantedVm {
  if (source.spec === undefined) throw new StillpointError("INTERNAL", `the record of ${source.name} has no spec`);
  const spec = {
    image: source.imageDigest,
    ports: [],
    fromCheckpoint: checkpoint,
    host: source.host,
    hostSelector: {},
    // It shares files with its source, and so has to be where that is.
    recovery: Recovery.NONE,
  };
  return wantedVm(newVm, VmSpec.fromPartial({ ...source.spec, ...spec, ...differs }));
}

/** A VM as a job's input keeps it. Fails with NAME_INVALID. */
export function wantedVm({ project, vmId, labels = {} }: NewVm, spec: VmSpec): WantedVm {
  const request = CreateVmRequest.fromPartial({ parent: projectName(project), vmId, spec, labels });
  return { name: vmName(project, vmId), request: CreateVmRequest.toJSON(request) as Json };
}
