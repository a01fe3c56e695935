import { VmDefinition } from "#contracts/host/v1/agent";
import type { Vm } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import { type Making, vmRequirements } from "#libs/workloads";

export const start = { $case: "startVm", value: {} } as const;

/** How a VM is made, run and removed on its host. */
export const making: Making<Vm> = {
  requirements: (vm) => vmRequirements(specOf(vm)),
  make: (vm) => ({ $case: "createVm", value: { definition: definitionOf(vm) } }),
  start,
  destroy: { $case: "deleteVm", value: {} },
};

function specOf({ name, spec }: Vm): NonNullable<Vm["spec"]> {
  if (spec === undefined) throw new StillpointError("INTERNAL", `the record of ${name} has no spec`);
  return spec;
}

function definitionOf(vm: Vm): VmDefinition {
  const { cpus, memoryBytes, rootSizeBytes, disks, ports, userData, kernelArgs, isolated, recovery } = specOf(vm);
  return VmDefinition.fromPartial({
    name: vm.name,
    uid: vm.uid,
    cpus,
    memoryBytes,
    image: vm.imageDigest,
    disks: [{ id: "root", sizeBytes: rootSizeBytes, excludeFromCheckpoints: false }, ...disks],
    ports,
    userData,
    kernelArgs,
    isolated,
    ...(recovery && { recovery }),
  });
}
