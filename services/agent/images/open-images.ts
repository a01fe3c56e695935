import { systemClock } from "#libs/clock";
import type { Lifecycle } from "#libs/lifecycle";
import type { Logger } from "#libs/logger";
import { parseReference, type RegistryClient } from "#libs/oci";
import type { AgentConfig } from "../config.ts";
import type { DiskStore, ImageStore } from "../ports.ts";
import type { DataFolder } from "../workload-folder.ts";
import type { Workloads } from "../workloads.ts";
import { observeCache } from "./cache-metrics.ts";
import { ImageCache } from "./image-cache.ts";
import { imagesOf } from "./images-of.ts";

interface OpenImages {
  readonly config: AgentConfig;
  readonly lifecycle: Lifecycle;
  readonly logger: Logger;
  readonly data: DataFolder;
  readonly registry: RegistryClient;
  readonly disks: DiskStore;
  readonly workloads: Workloads;
}

/** The images of this host, of which the workloads say which are needed. */
export async function openImages(deps: OpenImages): Promise<ImageStore> {
  const { config, lifecycle, logger, data, registry, disks, workloads } = deps;
  const cache = await ImageCache.open({
    ...{ folder: data.images, registry, logger, clock: systemClock, freeBytes: () => disks.freeBytes() },
    maxBytes: config.AGENT_IMAGE_CACHE_BYTES,
    inUse: () => (workloads.areAllKnown ? digestsInUse(workloads) : undefined),
  });
  lifecycle.add("image cache metrics", observeCache(cache), (forget) => forget());
  return cache;
}

function digestsInUse(workloads: Workloads): ReadonlySet<string> {
  const references = workloads.list().flatMap((workload) => imagesOf(workload));
  return new Set(references.flatMap((reference) => parseReference(reference).digest ?? []));
}
