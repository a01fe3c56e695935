import type { Job } from "#libs/operations";
import { groupApplyJob, groupDeleteJob } from "./change-jobs.ts";
import { groupCreateJob } from "./create-job.ts";
import type { GroupDeps } from "./members.ts";

/** The jobs of groups, for the service's runner. */
export const groupJobs = (deps: GroupDeps): Job[] =>
  [groupCreateJob(deps), groupApplyJob(deps), groupDeleteJob(deps)] as Job[];
