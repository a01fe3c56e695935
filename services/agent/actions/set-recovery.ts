import type { Recovery } from "#contracts/vm/v1/vm";
import { StillpointError } from "#libs/errors";
import type { Workload } from "../workload.ts";

/** Says whether the VM is guarded from its next start on. @throws StillpointError VM_STATE while it runs */
export async function setVmRecovery(workload: Workload, recovery: Recovery): Promise<void> {
  const { definition, machine } = workload;
  if (definition.recovery === recovery) return;
  if (machine !== undefined) {
    throw new StillpointError("VM_STATE", `${definition.name} runs, guarded or not as it was when it started`, {
      help: "Stop it first.",
    });
  }
  await workload.redefine({ ...definition, recovery });
}
