import type { SchedulerClient } from "#contracts/scheduler/v1/scheduler";
import type { Vm } from "#contracts/vm/v1/vm";
import type { HostAgents } from "#libs/host-agent";
import type { Job } from "#libs/operations";
import type { RecordStore } from "#libs/records";
import { createJob } from "./create.ts";
import { deleteJob } from "./delete.ts";
import { pauseJob } from "./pause.ts";
import { rebootJob } from "./reboot.ts";
import { resumeJob } from "./resume.ts";
import { startJob } from "./start.ts";
import { stopJob } from "./stop.ts";

/** What the jobs of this service work with. */
export interface VmJobDeps {
  readonly vms: RecordStore<Vm>;
  readonly scheduler: Pick<SchedulerClient, "place" | "release">;
  readonly agents: HostAgents;
}

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
