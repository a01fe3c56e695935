import { isStillpointError } from "#libs/errors";
import { isTerminal, type StoredOperation } from "./operation-record.ts";
import { touched } from "./operation-state.ts";
import type { Operations } from "./operations.ts";

const DAY_MS = 24 * 60 * 60 * 1000;
const LOOK_EVERY_MS = 60 * 60 * 1000;

/**
 * Writes unfinished operations again once a day: the stream drops what is older than 30 days, and an operation that
 * waits for longer must not be forgotten.
 */
export function startRewriter(operations: Operations): { close(): Promise<void> } {
  const stop = new AbortController();
  const done = rewriteAlways(operations, stop.signal);
  return {
    close: async () => {
      stop.abort();
      await done;
    },
  };
}

async function rewriteAlways(operations: Operations, signal: AbortSignal): Promise<void> {
  const { clock } = operations.deps;
  while (!signal.aborted) {
    for (const stored of operations.feed.unfinished()) {
      if (clock.now().getTime() - Date.parse(stored.record.updateTime) > DAY_MS) await rewrite(operations, stored);
    }
    await clock.sleep(LOOK_EVERY_MS, signal).catch(() => undefined);
  }
}

async function rewrite({ log, deps }: Operations, stored: StoredOperation): Promise<void> {
  if (isTerminal(stored.record)) return;
  try {
    await log.move(stored, touched, deps.random.id("rewrite"), { forMs: 0 });
  } catch (error) {
    // It moved on by itself, or the log is away: there is time until tomorrow.
    if (!isStillpointError(error)) throw error;
  }
}
