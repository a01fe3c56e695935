import type { Clock } from "#libs/clock";
import { ImageIndex, type ImageIndexDeps } from "./image-index.ts";

/** Replicas tell each other of changes; what was lost on the way is found after so long at the latest. */
const REBUILD_EVERY_MS = 600_000;

/** Makes the index, and makes it anew from time to time until the signal aborts. */
export function startIndex(deps: ImageIndexDeps, { clock, signal }: { clock: Clock; signal: AbortSignal }): ImageIndex {
  const index = new ImageIndex(deps);
  const rebuild = async () => {
    while (!signal.aborted) {
      index.rebuild();
      await clock.sleep(REBUILD_EVERY_MS, signal);
    }
  };
  rebuild().catch(() => {});
  return index;
}
