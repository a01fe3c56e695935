import { type FrozenWindow, type Refusal, timelineOf } from "./freeze.ts";
import { hasFailed, type Writer } from "./writers-report.ts";

/** Undefined when every writer held still. Pure. */
export function writersRefusal(writers: readonly Writer[]): Refusal | undefined {
  const failed = writers.filter(hasFailed).map(({ name }) => name);
  if (failed.length === 0) return undefined;
  return { reason: "hook.failed", detail: `writers that did not hold still: ${failed.join(", ")}` };
}

/** What a frozen window shows, for the receipt. Pure. */
export function evidenceOf(window: FrozenWindow, writers: readonly Writer[]) {
  const { count, thawCount, windowMs } = window;
  return {
    freeze: { count, thawCount, windowMs: Math.round(windowMs * 10) / 10, writers },
    timeline: timelineOf(window),
  };
}
