import type { Dimension, Host, HostFacts, Requirements } from "./host.ts";

/** Rules in the order in which they are tried. */
export type Rule = "host" | "state" | "capability" | "label" | "cpu" | "memory" | "disk" | "port";

/** One rule that a host breaks. */
export interface Failure {
  readonly rule: Rule;
  /** For people: what is needed and what there is. */
  readonly detail: string;
  /** For cpu, memory and disk: how much there still is; never negative. */
  readonly free?: number;
}

/** Whether who asks may hear of a workload; those of other projects are nobody's business. */
export type MayHearOf = (workload: string) => boolean;

/** What a host would say no to, in the order of the rules; empty when the workload fits. */
export function failures(host: Host, requirements: Requirements, mayHearOf: MayHearOf = () => true): Failure[] {
  return fits(host, requirements)
    ? []
    : [
        ...identity(host, requirements),
        ...availability(host),
        ...capabilities(host, requirements),
        ...labels(host, requirements),
        ...amounts(host, requirements),
        ...ports(host, requirements, mayHearOf),
      ];
}

/**
 * Whether the workload fits: the one question that deciding, committing and explaining all ask. In three parts, from
 * what most hosts have in common to what is one's own.
 */
export function fits(host: Host, requirements: Requirements): boolean {
  return suits(host, requirements) && hasRoom(host, requirements) && isFreeFor(host, requirements);
}

/** Whether it is a host of the kind that is needed, and takes anything: state, capabilities, labels. */
export function suits(host: Omit<HostFacts, "name">, { capabilities, hostSelector }: Requirements): boolean {
  if (host.availability !== "ready") return false;
  for (const capability of capabilities) if (!host.capabilities.includes(capability)) return false;
  for (const key in hostSelector) if (host.labels[key] !== hostSelector[key]) return false;
  return true;
}

/** Whether the amounts are free. */
export function hasRoom({ capacity, used }: Pick<Host, "capacity" | "used">, needs: Requirements): boolean {
  return (
    (needs.cpuMillis <= capacity.cpuMillis - used.cpuMillis || needs.cpuMillis === 0) &&
    (needs.memoryBytes <= capacity.memoryBytes - used.memoryBytes || needs.memoryBytes === 0) &&
    (needs.diskBytes <= capacity.diskBytes - used.diskBytes || needs.diskBytes === 0)
  );
}

/** Whether it may be this very host, with the ports that are free on it. */
export function isFreeFor({ name, ports }: Host, { host, notHost, notHosts, hostPorts }: Requirements): boolean {
  if (name === notHost || notHosts.includes(name) || (host !== "" && host !== name)) return false;
  for (const port of hostPorts) if (ports.has(port)) return false;
  return true;
}

function identity({ name }: Host, { host, notHost, notHosts }: Requirements): Failure[] {
  if (name === notHost || notHosts.includes(name)) return [{ rule: "host", detail: "is the one that it has to leave" }];
  return host === "" || host === name ? [] : [{ rule: "host", detail: `is not ${host}, where it has to be` }];
}

function availability({ availability }: Host): Failure[] {
  return availability === "ready" ? [] : [{ rule: "state", detail: `is ${availability}` }];
}

function capabilities(host: Host, { capabilities }: Requirements): Failure[] {
  const missing = capabilities.filter((capability) => !host.capabilities.includes(capability));
  return missing.length === 0 ? [] : [{ rule: "capability", detail: `cannot do ${missing.join(", ")}` }];
}

function labels(host: Host, { hostSelector }: Requirements): Failure[] {
  const missing = Object.entries(hostSelector).filter(([key, value]) => host.labels[key] !== value);
  if (missing.length === 0) return [];
  return [{ rule: "label", detail: `does not carry ${missing.map(([key, value]) => `${key}=${value}`).join(", ")}` }];
}

const amountRules: readonly { dimension: Dimension; rule: Rule }[] = [
  { dimension: "cpuMillis", rule: "cpu" },
  { dimension: "memoryBytes", rule: "memory" },
  { dimension: "diskBytes", rule: "disk" },
];

function amounts({ capacity, used }: Host, requirements: Requirements): Failure[] {
  return amountRules.flatMap(({ dimension, rule }) => {
    const needed = requirements[dimension];
    const free = Math.max(0, capacity[dimension] - used[dimension]);
    if (needed <= free) return [];
    const detail = `needs ${amount(dimension, needed)}, ${amount(dimension, free)} of ${amount(dimension, capacity[dimension])} free`;
    return [{ rule, detail, free }];
  });
}

function ports(host: Host, { hostPorts }: Requirements, mayHearOf: MayHearOf): Failure[] {
  const taken = hostPorts.filter((port) => host.ports.has(port));
  if (taken.length === 0) return [];
  const told = taken.map((port) => {
    const holder = host.ports.get(port) ?? "";
    return `port ${port} is taken${mayHearOf(holder) ? ` by ${holder}` : ""}`;
  });
  return [{ rule: "port", detail: told.join(", ") }];
}

/** An amount for people: "4 cpus", "0.25 cpus", "512 MiB". Bytes to a tenth, down: what is said to be free is free. */
export function amount(dimension: Dimension, value: number): string {
  if (dimension === "cpuMillis") return `${value / 1_000} ${value === 1_000 ? "cpu" : "cpus"}`;
  const gibibyte = 2 ** 30;
  const [unit, size] = value >= gibibyte ? ["GiB", gibibyte] : (["MiB", 2 ** 20] as const);
  return `${Math.floor((value / Number(size)) * 10) / 10} ${unit}`;
}
