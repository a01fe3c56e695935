import type { Job } from "#libs/operations";
import { createJob } from "./create.ts";
import { deleteJob } from "./delete.ts";
import type { VmJobDeps } from "./job-deps.ts";
import { pauseJob } from "./pause.ts";
import { rebootJob } from "./reboot.ts";
import { resumeJob } from "./resume.ts";
import { startJob } from "./start.ts";
import { stopJob } from "./stop.ts";

/** Every long job of a VM's life. */
export function vmJobs(deps: VmJobDeps): Job[] {
  return [
    createJob(deps),
    startJob(deps),
    stopJob(deps),
    rebootJob(deps),
    pauseJob(deps),
    resumeJob(deps),
    deleteJob(deps),
  ] as Job[];
}
