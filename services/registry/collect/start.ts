import type { Clock } from "#libs/clock";
import type { Lifecycle } from "#libs/lifecycle";
import type { Leases } from "#libs/locks";
import type { Logger } from "#libs/logger";
import type { RegistryConfig } from "../config.ts";
import type { RegistryStore } from "../store/open-store.ts";
import { type CollectionObserver, Collector } from "./collector.ts";
import type { SweepDeps } from "./sweep-repository.ts";
import { Verification } from "./verification.ts";

export interface CollectionDeps {
  readonly store: RegistryStore;
  readonly config: RegistryConfig;
  readonly leases: Leases;
  readonly observer: CollectionObserver;
  /** Makes the reserves of the store that are missing. */
  replenish(): Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Collects from time to time until the lifecycle ends. When this returns, the store has its reserves if it has room. */
export async function startCollection(
  { store, config, ...deps }: CollectionDeps,
  lifecycle: Lifecycle,
): Promise<{ collector: Collector; sweep: SweepDeps }> {
  const verification = new Verification({ ...store, ...deps, everyMs: config.REGISTRY_VERIFY_SECONDS * 1_000 });
  const sweep = {
    ...store,
    ...deps,
    graceMs: config.REGISTRY_GRACE_SECONDS * 1_000,
    untaggedMs: config.REGISTRY_UNTAGGED_SECONDS * 1_000,
  };
  const collector = new Collector({ ...sweep, verification });
  const replenish = async () => {
    await deps.replenish().catch((err: unknown) => deps.logger.warn({ err }, "the store lacks reserves"));
  };
  // Before the first push is served: pushes may fill the store sooner than the first pass comes.
  await replenish();
  const pass = async () => {
    await replenish();
    await collector.pass();
  };
  const running = repeat(pass, { ...deps, lifecycle, everyMs: config.REGISTRY_COLLECT_SECONDS * 1_000 });
  lifecycle.add("collection", { running }, (it) => it.running);
  return { collector, sweep };
}

interface Repetition {
  readonly lifecycle: Lifecycle;
  readonly everyMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

async function repeat(pass: () => Promise<void>, { lifecycle: { signal }, everyMs, clock, logger }: Repetition) {
  while (!signal.aborted) {
    await clock.sleep(everyMs, signal).catch(() => {});
    if (signal.aborted) return;
    await pass().catch((err: unknown) => logger.error({ err }, "collection failed"));
  }
}
