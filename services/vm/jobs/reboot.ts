import type { Job } from "#libs/operations";
import type { VmInput } from "./held-vm.ts";
import type { VmJobDeps } from "./job-deps.ts";
import { powerJob } from "./power-job.ts";

export interface RebootInput extends VmInput {
  readonly force: boolean;
}

/** Asks the guest to boot again, or resets it. */
export const rebootJob = (deps: VmJobDeps): Job<RebootInput> =>
  powerJob(deps, {
    kind: "vm.reboot",
    step: "reboot",
    action: ({ force }) => ({ $case: "rebootVm", value: { force } }),
    happened: "rebooted",
  });
