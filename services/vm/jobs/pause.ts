import type { Job } from "#libs/operations";
import type { VmInput } from "./held-vm.ts";
import type { VmJobDeps } from "./job-deps.ts";
import { powerJob } from "./power-job.ts";

/** Holds the guest still; its memory stays. */
export const pauseJob = (deps: VmJobDeps): Job<VmInput> =>
  powerJob(deps, { kind: "vm.pause", step: "pause", action: () => ({ $case: "pauseVm", value: {} }) });
