import { randomUUID } from "node:crypto";
import type { Lifecycle } from "#libs/lifecycle";
import type { AgentParts } from "../actions/agent-parts.ts";
import type { Reserve } from "../reserve.ts";
import type { StepRunner } from "../steps/step-runner.ts";
import { bootClock } from "./boot-clock.ts";
import { openEpochFile } from "./epoch-file.ts";
import { HostLease, type Starts } from "./host-lease.ts";
import { Lease } from "./lease.ts";
import { LeasedContainers } from "./leased-containers.ts";
import { LeasedKinds } from "./leased-kinds.ts";
import { LeasedVms } from "./leased-vms.ts";

export interface OpenLease {
  readonly hostUid: string;
  /** The agent's data folder. */
  readonly data: string;
  readonly reserve: Reserve;
  readonly parts: AgentParts;
  readonly steps: StepRunner;
}

/** The lease of this host, none at first, and what it means for workloads. Before they are adopted. */
export async function openLease(
  lifecycle: Lifecycle,
  { hostUid, data, reserve, parts, steps }: OpenLease,
): Promise<HostLease> {
  const { epoch, save } = await openEpochFile(data, reserve);
  const vms = new LeasedVms({ parts, steps, bootClock });
  const containers = parts.containers && new LeasedContainers({ parts: parts.containers, steps, bootClock });
  const lease = new HostLease({
    lease: new Lease({ hostUid, bootId: randomUUID() }, epoch),
    fence: parts.fence,
    clock: bootClock,
    timer: parts.clock,
    saveEpoch: save,
    workloads: containers === undefined ? vms : new LeasedKinds([vms, containers]),
    logger: parts.logger,
  });
  lifecycle.add("lease", lease, (opened) => opened.close());
  await containers?.guardAll();
  return lease;
}

/** For what is made before the lease is, and starts nothing before. */
export function startsBy(lease: () => Starts): Starts {
  return {
    confirm: (workload, signal) => lease().confirm(workload, signal),
    require: (workload) => lease().require(workload),
    may: (uid) => lease().may(uid),
    making: (uid) => lease().making(uid),
    deleting: (uid) => lease().deleting(uid),
  };
}
