import { counter, observeGauge } from "#libs/telemetry";

/** An image that was wanted for a new VM was there. */
export const countHit = counter({
  name: "stillpoint.image_cache.hits",
  unit: "1",
  description: "VMs made of an image that was on the host already.",
});

export const countMiss = counter({
  name: "stillpoint.image_cache.misses",
  unit: "1",
  description: "VMs made of an image that had to be pulled.",
});

export const countEviction = counter({
  name: "stillpoint.image_cache.evictions",
  unit: "1",
  description: "Images, or what unfinished pulls had brought, that were removed to make room.",
});

/** Gives a function that ends it. */
export function observeCache(cache: { readonly bytes: number }): () => void {
  return observeGauge({
    name: "stillpoint.image_cache.size",
    unit: "By",
    description: "What pulled images take on the host, with unfinished pulls.",
    read: () => [{ value: cache.bytes }],
  });
}
