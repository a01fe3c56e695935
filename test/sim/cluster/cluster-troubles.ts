import type { SimClock, SimRandom } from "../sim-clock.ts";
import { type Faults, noFaults } from "../sim-process.ts";
import type { ClusterHistory } from "./cluster-history.ts";
import type { SimHost } from "./sim-host.ts";
import type { NetFaults, SimNet } from "./sim-net.ts";
import type { SimReplica } from "./sim-replica.ts";

export interface TroubleWorld {
  readonly clock: SimClock;
  readonly random: SimRandom;
  readonly net: SimNet;
  readonly history: ClusterHistory;
  readonly hosts: ReadonlyMap<string, SimHost>;
  readonly replicas: ReadonlyMap<string, SimReplica>;
}

/** Each seed has faults of its own: some of the kinds, often or seldom. */
export function drawFaults(random: SimRandom): { readonly process: Faults; readonly net: NetFaults } {
  const some = (most: number) => (random.chance(0.5) ? random.next() ** 2 * most : 0);
  return {
    process: {
      ...noFaults,
      ...{ crash: some(0.003), pause: some(0.01), unknown: some(0.1), unavailable: some(0.1) },
      ...{ late: some(0.1), lag: some(0.05), lostHint: some(0.5), repeatedHint: some(0.5) },
    },
    net: { lost: some(0.3), twice: some(0.3), delayed: some(0.3) },
  };
}

const LONGEST_MS = 25_000;

/** Cuts in the network, hosts and replicas that end, one after the other and several at a time. */
export class Troubles {
  readonly #world: TroubleWorld;
  #isOver = false;

  constructor(world: TroubleWorld) {
    this.#world = world;
  }

  end(): void {
    this.#isOver = true;
  }

  async run(): Promise<void> {
    const { clock, random } = this.#world;
    const everyMs = 1_000 + random.below(8_000);
    for (;;) {
      await clock.sleep(random.below(2 * everyMs));
      if (this.#isOver) return;
      this.#make();
    }
  }

  #make(): void {
    const { random, history, hosts, replicas } = this.#world;
    const [host, replica] = [pick(random, [...hosts.values()]), pick(random, [...replicas.values()])];
    if (host === undefined || replica === undefined) return;
    const other = pick(random, [...replicas.keys()]) ?? "";
    const forMs = random.below(LONGEST_MS);
    const kinds: readonly (readonly [share: number, make: () => void])[] = [
      [35, () => this.#isolate(host.name, forMs)],
      [20, () => this.#cutPair(host.name, replica.address, forMs)],
      [7, () => this.#cutPair(replica.address, other, forMs)],
      [10, () => replica.process.cutOffFromLog(forMs / 3)],
      [8, () => replica.process.die()],
      [6, () => void replica.membership.close().then(() => replica.process.die())],
      [8, () => host.endAgent()],
      [6, () => host.crash()],
    ];
    const make = pick(
      random,
      kinds.flatMap(([share, kind]) => new Array<() => void>(share).fill(kind)),
    );
    history.note(`trouble with ${host.name} and ${replica.address}, ${forMs} ms`);
    make?.();
  }

  /** A host from all replicas, in one direction or both. */
  #isolate(host: string, forMs: number): void {
    const { random, net, replicas } = this.#world;
    const which = random.below(3);
    for (const address of replicas.keys()) {
      if (which !== 0) net.cut(host, address, forMs);
      if (which !== 1) net.cut(address, host, forMs);
    }
  }

  #cutPair(one: string, other: string, forMs: number): void {
    const { random, net } = this.#world;
    const which = random.below(3);
    if (which !== 0) net.cut(one, other, forMs);
    if (which !== 1) net.cut(other, one, forMs);
  }
}

function pick<Item>(random: SimRandom, items: readonly Item[]): Item | undefined {
  return items[random.below(items.length)];
}
