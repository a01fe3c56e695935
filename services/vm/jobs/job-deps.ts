import type { SchedulerClient } from "#contracts/scheduler/v1/scheduler";
import type { Vm } from "#contracts/vm/v1/vm";
import type { HostAgents } from "#libs/host-agent";
import type { RecordStore } from "#libs/records";

/** What the jobs of this service work with. */
export interface VmJobDeps {
  readonly vms: RecordStore<Vm>;
  readonly scheduler: Pick<SchedulerClient, "place" | "release">;
  readonly agents: HostAgents;
}
