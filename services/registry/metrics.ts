import { counter, histogram, observeGauge } from "#libs/telemetry";

export interface CollectionMetrics {
  /** Bytes in a repository that nothing refers to and that wait. */
  waiting(repository: string, bytes: number): void;
  reclaimed(bytes: number): void;
}

/** What collection has done and could do. */
export function collectionMetrics(): CollectionMetrics {
  const waiting = new Map<string, number>();
  observeGauge({
    name: "stillpoint.registry.reclaimable",
    unit: "By",
    description: "Bytes that nothing refers to and that wait in their repositories; shared ones once for each",
    read: () => [{ value: [...waiting.values()].reduce((sum, bytes) => sum + bytes, 0) }],
  });
  const reclaimed = counter({
    name: "stillpoint.registry.reclaimed",
    unit: "By",
    description: "Bytes of content that this replica has deleted because no repository had it",
  });
  return {
    waiting(repository, bytes) {
      if (bytes === 0) waiting.delete(repository);
      else waiting.set(repository, bytes);
    },
    reclaimed,
  };
}

/** Tells of a request of the OCI API that has ended. */
export type CountRequest = (seconds: number, what: { readonly request: string; readonly status: string }) => void;

export function requestMetrics(): CountRequest {
  return histogram({
    name: "stillpoint.registry.request.duration",
    unit: "s",
    description: "Requests of the OCI API, from their headers to the end of the answer",
    attributes: ["request", "status"],
  });
}
