import { type Host, type HostIdentity, SchedulerReplica } from "#contracts/scheduler/v1/scheduler";
import { type Clock, systemClock } from "#libs/clock";
import { silentLogger } from "#libs/logger";
import { createMemoryLog, type Log, type RecordStore } from "#libs/records";
import type { HeldLedger } from "../hosts/held-ledger.ts";
import type { HostRecords } from "../hosts/host-records.ts";
import { HostRegistry } from "../hosts/host-registry.ts";
import { type OpenHostRecords, openHostRecords } from "../hosts/open-host-records.ts";
import type { Ownership } from "../owners/ownership.ts";
import { openPlacements, type PlacementParts } from "../placement/open-placements.ts";
import type { Placements } from "../placement/placements.ts";

/** The scheduler's parts over a memory log, with a clock that the test moves. */
export interface MemoryScheduler extends AsyncDisposable {
  readonly log: Log;
  readonly hosts: RecordStore<Host>;
  readonly ledgers: RecordStore<HeldLedger>;
  readonly identities: RecordStore<HostIdentity>;
  readonly records: HostRecords;
  readonly registry: HostRegistry;
  readonly placements: Placements;
  /** Of another replica, which takes all hosts for its own, too. */
  another(): Promise<Placements>;
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
  const { records, free, store: hosts, ledgers, identities } = await openHostRecords(log, signal);
  const limits = { cpuOvercommit: 4, memoryReservedBytes: 2 ** 30, downAfterMs: 10_000, takeoverMs: 0 };
  const ownership = ownsAll(clock);
  const registry = new HostRegistry({
    store: hosts,
    identities,
    records,
    ownership,
    clock,
    logger: silentLogger,
    limits,
  });
  const openMore = ({ records, free }: Pick<OpenHostRecords, "records" | "free">) =>
    openPlacements({ log, records, free, ledgers, membership: ownership, ask: async () => [], clock });
  return {
    log,
    hosts,
    identities,
    ledgers,
    records,
    registry,
    placements: openMore({ records, free }),
    another: async () => openMore(await openHostRecords(log, signal)),
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
function ownsAll(clock: Clock): Ownership & PlacementParts["membership"] {
  const sinceMs = clock.monotonicMs();
  const name = "schedulers/replica-1";
  return {
    name,
    isJoined: async () => undefined,
    epoch: 1,
    ownedSinceMs: () => sinceMs,
    ownerOf: () => SchedulerReplica.fromPartial({ name }),
    get confirmedMs() {
      return clock.monotonicMs();
    },
  };
}
