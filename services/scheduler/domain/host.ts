/** An amount of each resource that a host has, or that something takes of it. */
export interface Amounts {
  /** CPUs in thousandths. */
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
}

/** What a workload needs of its host. */
export interface Requirements extends Amounts {
  /** Ports on the host's loopback address; one number is one port, whatever the protocol. */
  readonly hostPorts: readonly number[];
  /** Labels that the host must carry. */
  readonly hostSelector: Readonly<Record<string, string>>;
  readonly capabilities: readonly string[];
  /** hosts/<host>: there or nowhere; empty for any. */
  readonly host: string;
  /** hosts/<host>: anywhere but there; empty for none. */
  readonly notHost: string;
  readonly notHosts: readonly string[];
}

/** Capacity that is taken for a workload by one operation. */
export interface Reservation {
  readonly uid: string;
  /** Resource name of the workload. */
  readonly workload: string;
  /** operations/<id> */
  readonly operation: string;
  /** Of the operation when it took this; 0 where that was not said. */
  readonly epoch: number;
  readonly requirements: Requirements;
}

/**
 * Whether workloads are placed on a host. ready: yes. cordoned: an operator said no; those there stay.
 * draining: those there are on their way elsewhere. silent: no heartbeat for a while. down: none within the limit.
 */
export type Availability = "ready" | "cordoned" | "draining" | "silent" | "down";

/** What is known of a host, whatever is on it. */
export interface HostFacts {
  /** hosts/<host> */
  readonly name: string;
  readonly availability: Availability;
  readonly labels: Readonly<Record<string, string>>;
  readonly capabilities: readonly string[];
  /** What workloads may take in all. */
  readonly capacity: Amounts;
}

/** A host as decisions see it. */
export interface Host extends HostFacts {
  readonly reservations: readonly Reservation[];
  /** What they take together. */
  readonly used: Amounts;
  /** Host ports that they take, and the workload that has each. */
  readonly ports: ReadonlyMap<number, string>;
}

/** A host with these reservations; what they take is counted once, here. */
export function hostWith(facts: HostFacts, reservations: readonly Reservation[]): Host {
  const { name, availability, labels, capabilities, capacity } = facts;
  return {
    ...{ name, availability, labels, capabilities, capacity, reservations },
    used: usedBy(reservations),
    ports: portsOf(reservations),
  };
}

export const dimensions = ["cpuMillis", "memoryBytes", "diskBytes"] as const;
export type Dimension = (typeof dimensions)[number];

/** What the reservations of a host take together. */
export function usedBy(reservations: readonly Reservation[]): Amounts {
  const used = { cpuMillis: 0, memoryBytes: 0, diskBytes: 0 };
  for (const { requirements } of reservations) {
    used.cpuMillis += requirements.cpuMillis;
    used.memoryBytes += requirements.memoryBytes;
    used.diskBytes += requirements.diskBytes;
  }
  return used;
}

/** The host with one more. */
export function plus(host: Host, reservation: Reservation): Host {
  const { cpuMillis, memoryBytes, diskBytes, hostPorts } = reservation.requirements;
  const { used, ports } = host;
  return {
    ...host,
    reservations: [...host.reservations, reservation],
    used: {
      cpuMillis: used.cpuMillis + cpuMillis,
      memoryBytes: used.memoryBytes + memoryBytes,
      diskBytes: used.diskBytes + diskBytes,
    },
    ports: hostPorts.length === 0 ? ports : new Map([...ports, ...portsOf([reservation])]),
  };
}

const noPorts: ReadonlyMap<number, string> = new Map();

function portsOf(reservations: readonly Reservation[]): ReadonlyMap<number, string> {
  let ports: Map<number, string> | undefined;
  for (const { workload, requirements } of reservations) {
    for (const port of requirements.hostPorts) {
      ports ??= new Map();
      ports.set(port, workload);
    }
  }
  return ports ?? noPorts;
}
