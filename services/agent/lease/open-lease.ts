import { randomUUID } from "node:crypto";
import type { Lifecycle } from "#libs/lifecycle";
import type { AgentParts } from "../actions/agent-parts.ts";
import type { Reserve } from "../reserve.ts";
import type { StepRunner } from "../steps/step-runner.ts";
import { bootClock } from "./boot-clock.ts";
import { openEpochFile } from "./epoch-file.ts";
import { HostLease } from "./host-lease.ts";
import { Lease } from "./lease.ts";
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
  const lease = new HostLease({
    lease: new Lease({ hostUid, bootId: randomUUID() }, epoch),
    fence: parts.fence,
    clock: bootClock,
    saveEpoch: save,
    workloads: new LeasedVms({ parts, steps, bootClock }),
    logger: parts.logger,
  });
  return lifecycle.add("lease", lease, (opened) => opened.close());
}
