import { hasRoom, isFreeFor, suits } from "./feasibility.ts";
import type { Amounts, Host, HostFacts, Requirements } from "./host.ts";
import { score } from "./score.ts";

/** Hosts of one kind that have the same left: to a workload one is as good as the other, but for names and ports. */
interface Class {
  readonly capacity: Amounts;
  readonly used: Amounts;
  readonly hosts: Map<string, Host>;
}

/** Hosts of which nothing tells one from the other when they are empty. */
interface Kind {
  readonly facts: Omit<HostFacts, "name">;
  readonly classes: Map<string, Class>;
}

interface Place {
  readonly kind: string;
  readonly used: string;
}

/**
 * The hosts, by kind and by what is left on them. The best one for a workload is found by looking at each class once:
 * thousands of hosts have a few hundred classes.
 */
export class HostIndex {
  readonly #kinds = new Map<string, Kind>();
  readonly #hosts = new Map<string, Host>();
  readonly #places = new Map<string, Place>();

  get(name: string): Host | undefined {
    return this.#hosts.get(name);
  }

  values(): IterableIterator<Host> {
    return this.#hosts.values();
  }

  /** Takes a host in, or what has become of it. */
  set(host: Host): void {
    const before = this.#hosts.get(host.name);
    const known = this.#places.get(host.name);
    const kindKey = known !== undefined && before !== undefined && isSameKind(before, host) ? known.kind : keyOf(host);
    const place = { kind: kindKey, used: amountsKey(host.used) };
    if (known?.kind !== place.kind || known.used !== place.used) this.#take(host.name);
    this.#hosts.set(host.name, host);
    this.#places.set(host.name, place);
    this.#classAt(place, host).hosts.set(host.name, host);
  }

  delete(name: string): void {
    this.#take(name);
    this.#hosts.delete(name);
    this.#places.delete(name);
  }

  clear(): void {
    for (const index of [this.#kinds, this.#hosts, this.#places]) index.clear();
  }

  /**
   * The host that the workload goes best with, of those that it fits and that are allowed; of equals the one that has
   * been as it is for the longest time.
   */
  best(requirements: Requirements, isAllowed: IsAllowed): Host | undefined {
    const best: Best = { host: undefined, cost: Number.POSITIVE_INFINITY };
    for (const { facts, classes } of this.#kinds.values()) {
      if (!suits(facts, requirements)) continue;
      for (const alike of classes.values()) consider(best, alike, requirements, isAllowed);
    }
    return best.host;
  }

  #classAt(place: Place, { used, availability, labels, capabilities, capacity }: Host): Class {
    const facts = { availability, labels, capabilities, capacity };
    const kind = this.#kinds.get(place.kind) ?? { facts, classes: new Map<string, Class>() };
    this.#kinds.set(place.kind, kind);
    const found = kind.classes.get(place.used) ?? { capacity, used, hosts: new Map<string, Host>() };
    kind.classes.set(place.used, found);
    return found;
  }

  /** Out of its class; classes and kinds without hosts are forgotten. */
  #take(name: string): void {
    const place = this.#places.get(name);
    const kind = this.#kinds.get(place?.kind ?? "");
    const hosts = kind?.classes.get(place?.used ?? "")?.hosts;
    if (place === undefined || kind === undefined || hosts === undefined) return;
    hosts.delete(name);
    if (hosts.size === 0) kind.classes.delete(place.used);
    if (kind.classes.size === 0) this.#kinds.delete(place.kind);
  }
}

interface Best {
  host: Host | undefined;
  cost: number;
}

type IsAllowed = (host: string) => boolean;

function consider(best: Best, alike: Class, requirements: Requirements, isAllowed: IsAllowed): void {
  if (!hasRoom(alike, requirements)) return;
  const cost = score(alike, requirements);
  if (cost >= best.cost) return;
  const host = firstOf(alike.hosts, requirements, isAllowed);
  if (host === undefined) return;
  best.host = host;
  best.cost = cost;
}

function firstOf(hosts: ReadonlyMap<string, Host>, requirements: Requirements, isAllowed: IsAllowed): Host | undefined {
  for (const host of hosts.values()) if (isFreeFor(host, requirements) && isAllowed(host.name)) return host;
  return undefined;
}

const amountsKey = ({ cpuMillis, memoryBytes, diskBytes }: Amounts): string =>
  `${cpuMillis} ${memoryBytes} ${diskBytes}`;

/** Facts are made anew only when the host's record changes. */
const isSameKind = (a: HostFacts, b: HostFacts): boolean =>
  a.availability === b.availability &&
  a.labels === b.labels &&
  a.capabilities === b.capabilities &&
  a.capacity === b.capacity;

function keyOf({ availability, labels, capabilities, capacity }: HostFacts): string {
  const words = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return JSON.stringify([availability, amountsKey(capacity), capabilities.toSorted(), words.toSorted()]);
}
