import { type Clock, type Random, systemClock, systemRandom } from "#libs/clock";
import { MemoryLeases } from "#libs/locks";
import { type Logger, silentLogger } from "#libs/logger";
import { createMemoryLog, createRecordStore, type Json, type RecordStore, rawCodec } from "#libs/records";
import { MemoryJobQueue } from "../memory-job-queue.ts";
import { MemoryJobState } from "../memory-job-state.ts";
import { Operations } from "../operations.ts";

/** The whole machinery of operations in memory, for unit tests. */
export interface MemoryOperations extends AsyncDisposable {
  readonly operations: Operations;
  readonly records: RecordStore<Json>;
  readonly jobs: MemoryJobQueue;
  readonly jobState: MemoryJobState;
  readonly leases: MemoryLeases;
}

export async function startMemoryOperations({
  clock = systemClock,
  random = systemRandom,
  logger = silentLogger,
}: {
  clock?: Clock;
  random?: Random;
  logger?: Logger;
} = {}): Promise<MemoryOperations> {
  const stop = new AbortController();
  const log = createMemoryLog(clock);
  const jobs = new MemoryJobQueue(clock);
  const jobState = new MemoryJobState();
  const leases = new MemoryLeases({ clock, random });
  const operations = await Operations.start({
    ...{ records: log, jobs, jobState, leases, clock, random, logger, signal: stop.signal },
    ops: createMemoryLog(clock, { maxPerSubject: 1 }),
  });
  const records = createRecordStore({ log, codec: rawCodec, clock, random });
  const close = async () => stop.abort();
  return { operations, records, jobs, jobState, leases, [Symbol.asyncDispose]: close };
}
