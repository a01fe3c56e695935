const sources = new Set<() => boolean>();

/** Counts a server into the process's health, from when it listens until the function that is given back is called. */
export function reportHealth(source: () => boolean): () => void {
  sources.add(source);
  return () => void sources.delete(source);
}

/** True while something listens and all that listens is well. */
export const isHealthy = (): boolean => sources.size > 0 && [...sources].every((isWell) => isWell());
