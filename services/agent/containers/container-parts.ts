import type { CheckpointStorage } from "#contracts/vm/v1/vm";
import type { Clock } from "#libs/clock";
import type { Logger } from "#libs/logger";
import type { RegistryClient } from "#libs/oci";
import type { BackgroundWork } from "../checkpoints/background-work.ts";
import type { ContainerEngine, EngineFacts } from "../container-engine.ts";
import type { FencedContainers } from "../lease/fenced-containers.ts";
import type { Starts } from "../lease/host-lease.ts";
import type { Container } from "./container.ts";
import type { ContainerImages } from "./container-images.ts";
import type { Containers } from "./containers.ts";
import type { HostPolicy } from "./isolation.ts";
import type { KeptBack } from "./kept-back.ts";
import type { ProjectNetworks } from "./networks.ts";
import type { PolicyRestarts } from "./policy-restarts.ts";
import type { Programs } from "./program.ts";
import type { SecretFiles } from "./secrets.ts";

/** What checkpoints take on this host. */
export interface StorageOfContainers {
  /** To be called after checkpoints may have come or gone: tells soon what they take now. */
  changed(container: Container): void;
  /** Undefined before its first checkpoint. */
  measure(container: Container): Promise<CheckpointStorage | undefined>;
}

/** What actions on containers work with. */
export interface ContainerParts {
  readonly engine: ContainerEngine;
  readonly containers: Containers;
  readonly images: ContainerImages;
  readonly networks: ProjectNetworks;
  readonly registry: RegistryClient;
  /** Digests, shared with VMs. */
  readonly background: BackgroundWork;
  readonly storage: StorageOfContainers;
  readonly secrets: SecretFiles;
  readonly programs: Programs;
  readonly policy: HostPolicy;
  /** What the engine can do. @throws StillpointError ENGINE_UNAVAILABLE while it does not answer */
  facts(): EngineFacts;
  /** Before a step or a call. @throws StillpointError ENGINE_UNAVAILABLE until all that the engine has is adopted */
  requireEngine(): void;
  /** Those that must not run without the host's lease, by the fence guard. */
  readonly guarded: FencedContainers;
  readonly starts: Starts;
  /** Of those too. */
  readonly restarts: Pick<PolicyRestarts, "consider">;
  /** Ends that are told in a moment. */
  readonly ends: KeptBack;
  readonly clock: Clock;
  readonly logger: Logger;
}
