import { type Host, type HostIdentity, HostState, type Reservation } from "#contracts/scheduler/v1/scheduler";
import { ledgerName } from "#libs/names";
import type { RecordView, StoredRecord } from "#libs/records";
import { type Amounts, type Availability, type HostFacts, usedBy } from "../domain/host.ts";
import { toAmounts } from "./capacity.ts";
import type { HeldLedger } from "./held-ledger.ts";
import { toCapacity, toWritten } from "./written.ts";

/** Hosts and what is taken on them, as the records say, in memory. */
export interface HostRecords {
  readonly hosts: RecordView<Host>;
  readonly ledgers: RecordView<HeldLedger>;
  readonly identities: RecordView<HostIdentity>;
}

/** A host as decisions see it, but for what is on it. */
export function factsOf(host: Host): HostFacts {
  const { name, labels, capabilities } = host;
  return { name, labels, capabilities, availability: availabilityOf(host), capacity: toAmounts(host.capacity) };
}

/** A host as operators see it, but for its reservations. `heartbeatTime`: when this replica last heard of it. */
export function hostToShow({ ledgers }: HostRecords, host: Host, heartbeatTime: Date | undefined): Host {
  const ledger = ledgers.get(ledgerName(host.name));
  const reservationCount = ledger?.body.reservations.length ?? 0;
  return { ...host, heartbeatTime, reservationCount, used: toCapacity(heldBy(ledger)) };
}

/** The reservations on a host, as operators see them. */
export function reservationsToShow({ ledgers }: HostRecords, host: string): Reservation[] {
  return (ledgers.get(ledgerName(host))?.body.reservations ?? []).map(toWritten);
}

/** What a ledger holds together. Counted once for each state of it. */
export function heldBy(ledger: StoredRecord<HeldLedger> | undefined): Amounts {
  if (ledger === undefined) return usedBy([]);
  const held = counted.get(ledger) ?? usedBy(ledger.body.reservations);
  counted.set(ledger, held);
  return held;
}

const counted = new WeakMap<StoredRecord<HeldLedger>, Amounts>();

function availabilityOf({ state, suspected }: Host): Availability {
  if (suspected) return "silent";
  switch (state) {
    case HostState.READY:
      return "ready";
    case HostState.CORDONED:
      return "cordoned";
    case HostState.DRAINING:
      return "draining";
    case HostState.DOWN:
    case HostState.UNSPECIFIED:
    case HostState.UNRECOGNIZED:
      return "down";
  }
}
