import type { Operation } from "#contracts/operation/v1/operation";
import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { Wakeup } from "#libs/records";
import type { LiveState } from "./job-state.ts";
import type { OperationFeed } from "./operation-feed.ts";
import type { OperationLog } from "./operation-log.ts";
import { isTerminal, type StoredOperation, toOperation } from "./operation-record.ts";

interface WatchSource {
  readonly id: string;
  readonly feed: OperationFeed;
  readonly log: OperationLog;
  live(): Promise<LiveState | undefined>;
  readonly clock: Clock;
  /** How often progress is looked at; changes of the operation itself are pushed. */
  readonly everyMs: number;
}

/** The operation now, at every change, and with every change of its progress, until it has ended. */
export async function* watchOperation(source: WatchSource, signal: AbortSignal): AsyncGenerator<Operation> {
  const { id, feed, log } = source;
  const newest = new Newest();
  const unsubscribe = feed.watch(id, (stored) => newest.take(stored));
  try {
    newest.take(feed.get(id) ?? (await log.find(id)));
    yield* showChanges(source, newest, signal);
  } finally {
    unsubscribe();
    // Whoever still waits hangs on the caller's signal, which may be kept for as long as the server lives.
    newest.changed.wake();
  }
}

/** The newest state that has been seen, from wherever it came. */
class Newest {
  readonly changed = new Wakeup();
  stored: StoredOperation | undefined;

  take(stored: StoredOperation | undefined): void {
    if (stored === undefined || stored.version <= (this.stored?.version ?? 0)) return;
    this.stored = stored;
    this.changed.wake();
  }
}

// biome-ignore lint/complexity/noExcessiveCognitiveComplexity: one loop reads better than two that share its state
async function* showChanges(source: WatchSource, newest: Newest, signal: AbortSignal): AsyncGenerator<Operation> {
  const { id, clock, everyMs } = source;
  let shown: StoredOperation | undefined;
  let live: LiveState | undefined;
  while (!signal.aborted) {
    const { stored } = newest;
    if (stored === undefined) throw new StillpointError("OPERATION_NOT_FOUND", `operations/${id} was not found`);
    const woken = newest.changed.next(signal);
    const told = live?.heartbeat;
    // Progress is of interest only for what has not moved on by itself meanwhile.
    if (stored === shown) live = await source.live();
    const isNews = stored !== shown || live?.heartbeat !== told;
    if (isNews) yield toOperation(stored.record, live);
    if (isTerminal(stored.record)) return;
    shown = stored;
    if (newest.stored === stored) await firstOf(woken, everyMs, clock, signal);
  }
}

async function firstOf(woken: Promise<void>, ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
  const timer = new AbortController();
  const stop = () => timer.abort();
  signal.addEventListener("abort", stop, { once: true });
  await Promise.race([woken, clock.sleep(ms, timer.signal).catch(() => undefined)]);
  signal.removeEventListener("abort", stop);
  timer.abort();
}
