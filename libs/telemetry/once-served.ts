type Prometheus = typeof import("./prometheus.ts")["prometheus"];

let served: Prometheus | undefined;
const waiting = new Set<(prometheus: Prometheus) => void>();

/** True once metrics are served: what costs something to measure is only measured then. */
export const metricsAreServed = (): boolean => served !== undefined;

/** Begins with serving something, now or when metrics come to be served; the answered function forgets to. */
export function onceServed(begin: (prometheus: Prometheus) => void): () => void {
  if (served === undefined) waiting.add(begin);
  else begin(served);
  return () => void waiting.delete(begin);
}

/** Begins with all that waits. */
export async function beginServing(): Promise<Prometheus> {
  const { prometheus } = await import("./prometheus.ts");
  served = prometheus;
  for (const begin of waiting) begin(prometheus);
  waiting.clear();
  return prometheus;
}
