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
  const { id, feed, log, clock, everyMs } = source;
  const changed = new Wakeup();
  let newest: StoredOperation | undefined;
  const unsubscribe = feed.subscribe(id, (stored) => {
    newest = newer(newest, stored);
    changed.wake();
  });
  try {
    newest = newer(newest, feed.get(id) ?? (await log.read(id)));
    if (newest === undefined) throw new StillpointError("OPERATION_NOT_FOUND", `operations/${id} was not found`);
    let shownVersion = 0;
    let live: LiveState | undefined;
    while (!signal.aborted) {
      const seen: StoredOperation = newest;
      const woken = changed.next(signal);
      const told = live?.heartbeat;
      if (seen.version === shownVersion && !isTerminal(seen.record)) live = await source.live();
      if (seen.version > shownVersion || live?.heartbeat !== told) yield toOperation(seen.record, live);
      shownVersion = seen.version;
      if (isTerminal(seen.record)) return;
      if (newest.version === shownVersion) await firstOf(woken, everyMs, clock, signal);
    }
  } finally {
    unsubscribe();
  }
}

function newer<Stored extends StoredOperation | undefined>(a: StoredOperation | undefined, b: Stored) {
  return a !== undefined && (b === undefined || a.version > b.version) ? a : b;
}

async function firstOf(woken: Promise<void>, ms: number, clock: Clock, signal: AbortSignal): Promise<void> {
  const timer = new AbortController();
  const stop = () => timer.abort();
  signal.addEventListener("abort", stop, { once: true });
  await Promise.race([woken, clock.sleep(ms, timer.signal).catch(() => undefined)]);
  signal.removeEventListener("abort", stop);
  timer.abort();
}
