import { type Host, Host as HostCodec, type Ledger, Ledger as LedgerCodec } from "#contracts/scheduler/v1/scheduler";
import { type Clock, systemClock, systemRandom } from "#libs/clock";
import { silentLogger } from "#libs/logger";
import { createMemoryLog, createRecordStore, type Log, type RecordStore, RecordView } from "#libs/records";
import type { HostRecords } from "../hosts/host-records.ts";
import { HostRegistry } from "../hosts/host-registry.ts";
import type { Ownership } from "../owners/ownership.ts";
import { Placements } from "../placements.ts";

/** The scheduler's parts over a memory log, with a clock that the test moves. */
export interface MemoryScheduler extends AsyncDisposable {
  readonly log: Log;
  readonly hosts: RecordStore<Host>;
  readonly ledgers: RecordStore<Ledger>;
  readonly records: HostRecords;
  readonly registry: HostRegistry;
  readonly placements: Placements;
  /** Moves the registry's monotonic clock. */
  advance(ms: number): void;
  /** The same, with looks after silent hosts meanwhile. */
  pass(ms: number): Promise<void>;
}

export async function startMemoryScheduler(): Promise<MemoryScheduler> {
  const ending = new AbortController();
  const { signal } = ending;
  let nowMs = 0;
  const clock: Clock = { ...systemClock, monotonicMs: () => nowMs };
  const log = createMemoryLog(systemClock);
  const hosts = createRecordStore({ log, codec: HostCodec, clock, random: systemRandom });
  const ledgers = createRecordStore({ log, codec: LedgerCodec, clock, random: systemRandom });
  const records = {
    hosts: await RecordView.start({ log, filter: "rec.hosts.*", codec: HostCodec, signal }),
    ledgers: await RecordView.start({ log, filter: "rec.hosts.*.ledger", codec: LedgerCodec, signal }),
  };
  const limits = { cpuOvercommit: 4, memoryReservedBytes: 2 ** 30, downAfterMs: 10_000, takeoverMs: 0 };
  const ownership = ownsAll(clock);
  const registry = new HostRegistry({
    store: hosts,
    records,
    ownership,
    clock,
    logger: silentLogger,
    limits,
  });
  return {
    log,
    hosts,
    ledgers,
    records,
    registry,
    placements: new Placements({ records, ledgers }),
    advance: (ms) => {
      nowMs += ms;
    },
    async pass(ms) {
      for (const endMs = nowMs + ms; nowMs < endMs; ) {
        nowMs = Math.min(endMs, nowMs + 250);
        await registry.sweep();
      }
    },
    [Symbol.asyncDispose]: async () => ending.abort(),
  };
}

/** Of the one replica that there is. */
function ownsAll(clock: Clock): Ownership {
  const sinceMs = clock.monotonicMs();
  return {
    epoch: 1,
    ownedSinceMs: () => sinceMs,
    ownerOf: () => undefined,
    get confirmedMs() {
      return clock.monotonicMs();
    },
  };
}
