import type { Clock, Random } from "#libs/clock";
import type { Logger } from "#libs/logger";
import type { BackgroundWork } from "../checkpoints/background-work.ts";
import type { FreezeGuard } from "../guard-client.ts";
import type { DiskStore, Hypervisor, ImageStore } from "../ports.ts";
import type { Workloads } from "../workloads.ts";

/** What actions work with. */
export interface AgentParts {
  readonly workloads: Workloads;
  readonly hypervisor: Hypervisor;
  readonly images: ImageStore;
  readonly disks: DiskStore;
  readonly guard: FreezeGuard;
  readonly background: BackgroundWork;
  /** First of the system users that VMs run as; null runs them as the agent's own. */
  readonly firstProcessUid: number | null;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}
