import type { Job } from "#libs/operations";
import { groupJobs } from "./groups/jobs.ts";
import type { GroupDeps } from "./groups/members.ts";
import { applyJob } from "./jobs/apply.ts";
import { createJob } from "./jobs/create.ts";
import { deleteJob } from "./jobs/delete.ts";
import { drillJob } from "./jobs/drill.ts";
import type { NewVmDeps } from "./jobs/new-vm-steps.ts";
import { pushJob } from "./jobs/push.ts";
import { receiveJob } from "./jobs/receive.ts";

/** What the service's runner runs. */
export function jobsOf(deps: NewVmDeps & GroupDeps): Job[] {
  const ofVms = [createJob(deps), applyJob(deps), deleteJob(deps), receiveJob(deps), pushJob(deps), drillJob(deps)];
  return [...(ofVms as Job[]), ...groupJobs(deps)];
}
