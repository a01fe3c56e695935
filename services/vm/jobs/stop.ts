import type { Job } from "#libs/operations";
import type { VmInput } from "./held-vm.ts";
import type { VmJobDeps } from "./job-deps.ts";
import { powerJob } from "./power-job.ts";

export interface StopInput extends VmInput {
  readonly force: boolean;
  readonly timeoutSeconds: number;
}

/** Asks the guest to power off, or ends QEMU; a guest that does not listen in time goes on, and the job fails. */
export const stopJob = (deps: VmJobDeps): Job<StopInput> =>
  powerJob(deps, {
    kind: "vm.stop",
    step: "stop",
    action: ({ force, timeoutSeconds }) => ({ $case: "stopVm", value: { force, timeoutSeconds } }),
  });
