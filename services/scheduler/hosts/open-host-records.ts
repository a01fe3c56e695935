import { Host, HostIdentity } from "#contracts/scheduler/v1/scheduler";
import { type Clock, type Random, systemClock, systemRandom } from "#libs/clock";
import { createRecordStore, type Log, type RecordStore, RecordView } from "#libs/records";
import { FreeCapacity } from "../placement/free-capacity.ts";
import { type HeldLedger, ledgerCodec } from "./held-ledger.ts";
import type { HostRecords } from "./host-records.ts";

export interface OpenHostRecords {
  readonly records: HostRecords;
  readonly free: FreeCapacity;
  readonly store: RecordStore<Host>;
  readonly ledgers: RecordStore<HeldLedger>;
  readonly identities: RecordStore<HostIdentity>;
}

/** Hosts and ledgers: in memory, what they leave free, and to be written. */
export async function openHostRecords(
  log: Log,
  signal: AbortSignal,
  { clock, random }: { readonly clock: Clock; readonly random: Random } = { clock: systemClock, random: systemRandom },
): Promise<OpenHostRecords> {
  const free = new FreeCapacity();
  const lean = { log, signal, clock, lean: true };
  const hosts = await RecordView.start({ ...lean, filter: "rec.hosts.*", codec: Host, mirror: free.hosts });
  const ledgers = await RecordView.start({
    ...lean,
    filter: ledgersFilter,
    codec: ledgerCodec,
    mirror: free.ledgers,
  });
  const store = createRecordStore({ log, codec: Host, clock, random });
  const ledgerStore = createRecordStore({ log, codec: ledgerCodec, clock, random });
  const identities = await RecordView.start({ ...lean, filter: "rec.hosts.*.identity", codec: HostIdentity });
  const stores = {
    store,
    ledgers: ledgerStore,
    identities: createRecordStore({ log, codec: HostIdentity, clock, random }),
  };
  return { records: { hosts, ledgers, identities }, free, ...stores };
}

/** Subjects of all ledgers. */
export const ledgersFilter = "rec.hosts.*.ledger";
