import {
  type Capacity,
  type Host,
  HostState,
  type Ledger,
  type Requirements as RequirementsMessage,
  type Reservation,
} from "#contracts/scheduler/v1/scheduler";
import { ledgerName } from "#libs/names";
import type { RecordView, StoredRecord } from "#libs/records";
import {
  type Amounts,
  type Availability,
  type Host as Candidate,
  type Reservation as Held,
  type Requirements,
  usedBy,
} from "../domain/host.ts";
import { toAmounts } from "./capacity.ts";

/** Hosts and what is taken on them, as the records say, in memory. */
export interface HostRecords {
  readonly hosts: RecordView<Host>;
  readonly ledgers: RecordView<Ledger>;
}

/** Every host, as decisions see it. */
export function candidates({ hosts, ledgers }: HostRecords): Candidate[] {
  return hosts.list().map(({ name, body }) => candidate(body, ledgers.get(ledgerName(name))?.body.reservations ?? []));
}

/** A host with these reservations, as decisions see it. */
function candidate(host: Host, reservations: readonly Reservation[]): Candidate {
  const { name, labels, capabilities } = host;
  const capacity = toAmounts(host.capacity);
  const availability = availabilityOf(host);
  return { name, availability, labels, capabilities, capacity, reservations: reservations.map(toHeld) };
}

/** A host as operators see it. `heartbeatTime`: when this replica last heard of it. */
export function hostToShow({ ledgers }: HostRecords, host: Host, heartbeatTime: Date | undefined): Host {
  const ledger = ledgers.get(ledgerName(host.name));
  return { ...host, heartbeatTime, reservations: ledger?.body.reservations ?? [], used: toCapacity(heldBy(ledger)) };
}

/** What a ledger holds together. Counted once for each state of it. */
export function heldBy(ledger: StoredRecord<Ledger> | undefined): Amounts {
  if (ledger === undefined) return usedBy([]);
  const held = counted.get(ledger) ?? usedBy(ledger.body.reservations.map(toHeld));
  counted.set(ledger, held);
  return held;
}

const counted = new WeakMap<StoredRecord<Ledger>, Amounts>();

/** A reservation as it was written, with nothing left open. */
export function toHeld({ uid, workload, operation, requirements }: Reservation): Held {
  return { uid, workload, operation, requirements: toNeeds(requirements) };
}

/** What is asked of a host, in thousandths of a CPU, with nothing left open. */
export function toNeeds(requirements: Partial<RequirementsMessage> = {}): Requirements {
  return { ...nothing, ...requirements, ...toAmounts(requirements) };
}

/** An amount as the API writes it. Whole CPUs are for readers that know nothing of parts: never too few. */
export function toCapacity({ cpuMillis, memoryBytes, diskBytes }: Amounts): Capacity {
  return { cpus: Math.ceil(cpuMillis / 1_000), cpuMillis, memoryBytes, diskBytes };
}

/** A reservation as it is written. */
export function toWritten({ uid, workload, operation, requirements }: Held): Reservation {
  const { hostPorts, hostSelector, capabilities, host, notHost } = requirements;
  const copied = { hostPorts: [...hostPorts], hostSelector: { ...hostSelector }, capabilities: [...capabilities] };
  return { uid, workload, operation, requirements: { ...toCapacity(requirements), ...copied, host, notHost } };
}

const nothing = { hostPorts: [], hostSelector: {}, capabilities: [], host: "", notHost: "" };

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
