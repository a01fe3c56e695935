import type { Job } from "#libs/operations";
import type { VmInput } from "./held-vm.ts";
import type { VmJobDeps } from "./job-deps.ts";
import { powerJob } from "./power-job.ts";

/** Lets a guest that is held still go on. */
export const resumeJob = (deps: VmJobDeps): Job<VmInput> =>
  powerJob(deps, { kind: "vm.resume", step: "resume", action: () => ({ $case: "resumeVm", value: {} }) });
