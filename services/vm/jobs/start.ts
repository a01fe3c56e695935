import type { Job } from "#libs/operations";
import type { VmInput } from "./held-vm.ts";
import type { VmJobDeps } from "./job-deps.ts";
import { powerJob } from "./power-job.ts";

/** Starts QEMU; done when the guest runs, which is before its agent answers. */
export const startJob = (deps: VmJobDeps): Job<VmInput> =>
  powerJob(deps, { kind: "vm.start", step: "start", action: () => ({ $case: "startVm", value: {} }) });
