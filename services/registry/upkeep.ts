import type { Redis } from "ioredis";
import type { Clock, Random } from "#libs/clock";
import type { Lifecycle } from "#libs/lifecycle";
import type { Leases } from "#libs/locks";
import type { Logger } from "#libs/logger";
import type { Collector } from "./collect/collector.ts";
import { startCollection } from "./collect/start.ts";
import type { SweepDeps } from "./collect/sweep-repository.ts";
import { tellCollection } from "./collect/tell-collection.ts";
import type { RegistryConfig } from "./config.ts";
import type { Changes } from "./events/changes.ts";
import { LastPulls } from "./events/last-pulls.ts";
import type { Pulls } from "./events/pulls.ts";
import { startEvents } from "./events/start.ts";
import type { ImageIndex } from "./index/image-index.ts";
import { startIndex } from "./index/start.ts";
import type { Late } from "./late.ts";
import { collectionMetrics } from "./metrics.ts";
import type { Records } from "./records.ts";
import type { RegistryStore } from "./store/open-store.ts";

export interface UpkeepDeps {
  readonly store: RegistryStore;
  readonly config: RegistryConfig;
  readonly redis: Redis;
  readonly leases: Leases;
  /** Where there are logins or events. */
  readonly records: Late<Records> | undefined;
  /** Makes the reserves of the store that are missing. */
  readonly replenish: () => Promise<void>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface Upkeep {
  readonly index: ImageIndex;
  readonly lastPulls: LastPulls;
  readonly changes: Changes;
  readonly pulls: Pulls;
  readonly collector: Collector;
  readonly sweep: SweepDeps;
}

/** Starts what goes on beside requests: the index, events, collection. */
export async function startUpkeep(
  { store, config, redis, leases, records, replenish, ...deps }: UpkeepDeps,
  lifecycle: Lifecycle,
): Promise<Upkeep> {
  const { clock, logger } = deps;
  const index = startIndex({ ...store, logger }, { clock, signal: lifecycle.signal });
  const lastPulls = new LastPulls(redis);
  const told = config.REGISTRY_EVENTS === "none" || records === undefined ? {} : { records };
  const telling = startEvents({ ...deps, objects: store.objects, index, lastPulls, ...told }, lifecycle);
  const observer = tellCollection({ ...telling, metrics: collectionMetrics(), logger });
  const collection = await startCollection({ store, config, leases, observer, replenish, clock, logger }, lifecycle);
  return { index, lastPulls, ...telling, ...collection };
}
