import type { Vm } from "#contracts/vm/v1/vm";
import type { Job } from "#libs/operations";
import {
  createJob,
  deleteJob,
  hostJob,
  type MoveDeps,
  moveJob,
  type RecoverDeps,
  recoverJob,
  type WorkloadInput,
} from "#libs/workloads";
import { making, start } from "./making.ts";
import { moving } from "./moving.ts";
import { updateJob } from "./update.ts";

interface StopInput extends WorkloadInput {
  readonly force: boolean;
  readonly timeoutSeconds: number;
}

interface RebootInput extends WorkloadInput {
  readonly force: boolean;
}

/** Every long job of a VM's life. */
export function vmJobs(deps: Omit<MoveDeps<Vm> & RecoverDeps<Vm>, "moving">): Job[] {
  return [
    createJob(deps, making),
    // Done when the guest runs, which is before its agent answers.
    hostJob(deps, { kind: "vm.start", step: "start", action: () => start }),
    // A guest that does not listen in time goes on, and the job fails.
    hostJob<Vm, StopInput>(deps, {
      kind: "vm.stop",
      step: "stop",
      action: ({ force, timeoutSeconds }) => ({ $case: "stopVm", value: { force, timeoutSeconds } }),
    }),
    hostJob<Vm, RebootInput>(deps, {
      kind: "vm.reboot",
      step: "reboot",
      action: ({ force }) => ({ $case: "rebootVm", value: { force } }),
      happened: "rebooted",
    }),
    // Its memory stays.
    hostJob(deps, { kind: "vm.pause", step: "pause", action: () => ({ $case: "pauseVm", value: {} }) }),
    hostJob(deps, { kind: "vm.resume", step: "resume", action: () => ({ $case: "resumeVm", value: {} }) }),
    updateJob(deps),
    moveJob({ ...deps, moving }),
    recoverJob({ ...deps, moving }),
    deleteJob(deps, making.destroy),
  ] as Job[];
}
