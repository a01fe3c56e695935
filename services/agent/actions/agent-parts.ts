import type { Clock, Random } from "#libs/clock";
import type { Logger } from "#libs/logger";
import type { RegistryClient } from "#libs/oci";
import type { BackgroundWork } from "../checkpoints/background-work.ts";
import type { StorageWatch } from "../checkpoints/storage-watch.ts";
import type { ContainerParts } from "../containers/container-parts.ts";
import type { FreezeGuard } from "../guard-client.ts";
import type { Fence } from "../lease/fence.ts";
import type { Starts } from "../lease/host-lease.ts";
import type { DiskStore, Hypervisor, ImageStore } from "../ports.ts";
import type { Workloads } from "../workloads.ts";

/** What actions work with. */
export interface AgentParts {
  readonly workloads: Workloads;
  readonly hypervisor: Hypervisor;
  readonly images: ImageStore;
  readonly registry: RegistryClient;
  readonly disks: DiskStore;
  readonly guard: FreezeGuard;
  readonly fence: Fence;
  /** Of what must not run twice. */
  readonly starts: Starts;
  /** Digests. */
  readonly background: BackgroundWork;
  /** Merges, of one workload at a time. Who reads its layers outside its own steps holds it here meanwhile. */
  readonly merges: BackgroundWork;
  /** 0 is as fast as it goes. */
  readonly mergeBytesPerSecond: number;
  readonly storage: StorageWatch;
  /** First of the system users that VMs run as; null runs them as the agent's own. */
  readonly firstProcessUid: number | null;
  /** Undefined on a host that is not to have containers. */
  readonly containers: ContainerParts | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}
