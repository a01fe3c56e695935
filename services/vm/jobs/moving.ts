import type { VmDefinition } from "#contracts/host/v1/agent";
import { type Vm, VmSpec } from "#contracts/vm/v1/vm";
import type { AgentAction } from "#libs/host-agent";
import type { Json } from "#libs/records";
import type { Moving } from "#libs/workloads";
import { whyBound } from "../domain/movable.ts";
import { hasGuest } from "../domain/vm-state.ts";
import { making, start } from "./making.ts";

/** How a VM is taken from one host and made on another. */
export const moving: Moving<Vm> = {
  requirements: (vm) => making.requirements(vm),
  isLive: hasGuest,
  whyBound: ({ spec }, checkpoints) => spec && whyBound(spec, checkpoints),
  boundReason: "VM_NOT_MOVABLE",
  repository: "checkpoints/moves",
  stop: (timeoutSeconds) => ({ $case: "stopVm", value: { force: false, timeoutSeconds } }),
  start,
  make: (vm) => withoutImage(making.make(vm, false)),
  destroy: making.destroy,
  // User data may hold secrets: the other host is given it by this service.
  told({ spec }) {
    const { userData: _secret, ...rest } = spec ?? VmSpec.fromPartial({});
    return VmSpec.toJSON(VmSpec.fromPartial(rest)) as Json;
  },
};

/** All that its image gave it comes with its disks. */
function withoutImage(action: AgentAction): AgentAction {
  const definition: VmDefinition | undefined = action.$case === "createVm" ? action.value.definition : undefined;
  return definition === undefined ? action : { $case: "createVm", value: { definition: { ...definition, image: "" } } };
}
