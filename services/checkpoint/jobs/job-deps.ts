import type { Project } from "#contracts/checkpoint/v1/project";
import type { Container } from "#contracts/container/v1/container";
import type { Host } from "#contracts/scheduler/v1/scheduler";
import type { Vm } from "#contracts/vm/v1/vm";
import type { Clock } from "#libs/clock";
import type { HostAgents } from "#libs/host-agent";
import type { Logger } from "#libs/logger";
import type { Operations } from "#libs/operations";
import type { RecordStore, RecordView } from "#libs/records";
import type { CheckpointStore } from "../records/checkpoint-store.ts";

/** What the jobs of this service work with. */
export interface JobDeps {
  readonly vms: RecordStore<Vm>;
  readonly hosts: Pick<RecordStore<Host>, "get">;
  readonly projects: RecordStore<Project>;
  readonly store: CheckpointStore;
  /** Only for reading. */
  readonly containers: Pick<RecordStore<Container>, "get">;
  readonly vmView: Pick<RecordView<Vm>, "watch">;
  readonly containerView: Pick<RecordView<Vm>, "watch">;
  readonly agents: HostAgents;
  readonly operations: Pick<Operations, "holdAlso">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Checkpoints of one VM at most. */
  readonly limit: number;
}
