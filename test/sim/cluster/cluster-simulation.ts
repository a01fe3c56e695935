import type { HeartbeatAck } from "#contracts/host/v1/agent";
import { MemoryLeases } from "#libs/locks";
import { MemoryJobQueue, MemoryJobState } from "#libs/operations";
import { createMemoryLog, type MemoryLog } from "#libs/records";
import { machineClock, SimClock, SimRandom } from "../sim-clock.ts";
import { type Faults, noFaults, SimProcess } from "../sim-process.ts";
import { startClient } from "./cluster-client.ts";
import { ClusterHistory, type Counted } from "./cluster-history.ts";
import { drawFaults, Troubles } from "./cluster-troubles.ts";
import type { Mutations } from "./mutations.ts";
import { unsettled } from "./settled.ts";
import { SimHost } from "./sim-host.ts";
import { type NetFaults, SimNet, soundNet } from "./sim-net.ts";
import { type SimReplica, startReplica } from "./sim-replica.ts";

export interface ClusterResult {
  readonly violations: readonly string[];
  /** What happened, for a person. */
  readonly story: readonly string[];
  readonly counts: Readonly<Partial<Record<Counted | "crashes", number>>>;
}

const HOSTS = 4;
const REPLICAS = 3;
const CLIENTS = 3;
const FAULTY_FOR_MS = 40_000;
const SETTLE_WITHIN_MS = 240_000;

/** `more`: faults of processes that are to be so often, whatever the seed says. Runs the scheduler's real replicas, and simulated hosts, in a world that one seed decides. */
export async function simulateCluster(
  seed: number,
  mutations: Mutations = {},
  more: Partial<Faults> = {},
): Promise<ClusterResult> {
  return await new ClusterSimulation(seed, mutations, more).run();
}

class ClusterSimulation {
  readonly clock = new SimClock();
  readonly random: SimRandom;
  readonly mutations: Mutations;
  readonly net: SimNet;
  readonly history: ClusterHistory;
  readonly hosts = new Map<string, SimHost>();
  readonly ops: MemoryLog;
  readonly records: MemoryLog;
  readonly jobs: MemoryJobQueue;
  readonly jobState = new MemoryJobState();
  readonly leases: MemoryLeases;
  /** How long a replica's word counts, and so how long the longest pauses are. */
  readonly ttlMs = 6_000;
  readonly #stop = new AbortController();
  readonly #replicas = new Map<string, SimReplica>();
  #faults: { readonly process: Faults; readonly net: NetFaults };
  readonly #drawn: string;
  #crashes = 0;

  constructor(seed: number, mutations: Mutations, more: Partial<Faults>) {
    this.random = new SimRandom(seed);
    this.mutations = mutations;
    const drawn = drawFaults(this.random);
    this.#faults = { ...drawn, process: { ...drawn.process, ...more } };
    this.#drawn = JSON.stringify(this.#faults);
    this.net = new SimNet(this);
    this.ops = createMemoryLog(this.clock, { maxPerSubject: 1 });
    this.records = createMemoryLog(this.clock);
    this.jobs = new MemoryJobQueue(this.clock);
    this.leases = new MemoryLeases({ clock: this.clock, random: this.random });
    this.history = new ClusterHistory(this.clock, this.ops, this.records);
    for (let index = 0; index < HOSTS; index++) {
      const host = new SimHost(this, `h${index}`);
      this.hosts.set(host.name, host);
      this.history.hosts.set(host.name, host);
    }
  }

  faults(): Faults {
    return this.#faults.process;
  }

  netFaults(): NetFaults {
    return this.#faults.net;
  }

  host(name: string): SimHost | undefined {
    return this.hosts.get(name);
  }

  replica(address: string): SimReplica | undefined {
    return this.#replicas.get(address);
  }

  /** One that is up, where there is one. */
  someReplica(): SimReplica | undefined {
    return [...this.#replicas.values()][this.random.below(this.#replicas.size)];
  }

  get replicas(): ReadonlyMap<string, SimReplica> {
    return this.#replicas;
  }

  /** Over NATS: every replica hears every host. */
  beat(host: SimHost, heartbeat: string, answer: (ack: HeartbeatAck) => void): void {
    for (const replica of this.#replicas.values()) {
      const { address } = replica;
      const respond = (ack: HeartbeatAck) => this.net.send(address, host.name, () => answer(ack));
      this.net.send(host.name, address, () => replica.hear(heartbeat, respond));
    }
  }

  async run(): Promise<ClusterResult> {
    const { signal } = this.#stop;
    for (let index = 0; index < REPLICAS; index++) void this.#keepReplica(`replica-${index}`);
    for (const host of this.hosts.values()) void host.run(signal);
    const troubles = new Troubles(this);
    void troubles.run();
    const clients = Array.from({ length: CLIENTS }, (_, index) => startClient(this, `vm-${index}`));
    let answered = false;
    void Promise.all(clients).then(() => {
      answered = true;
    });
    let isSound = false;
    void this.clock.sleep(FAULTY_FOR_MS).then(() => {
      this.#faults = { process: noFaults, net: soundNet };
      troubles.end();
      this.net.heal();
      this.history.note("all is well from here on");
      isSound = true;
    });
    let nextLookMs = 0;
    const settled = () => {
      if (!isSound || !answered || this.clock.monotonicMs() < nextLookMs) return false;
      nextLookMs = this.clock.monotonicMs() + 250;
      return unsettled(this.history, this.#replicas).length === 0;
    };
    if (!(await this.clock.runUntil(settled, FAULTY_FOR_MS + SETTLE_WITHIN_MS))) {
      const left = unsettled(this.history, this.#replicas);
      for (const what of answered ? left : [...left, "clients wait"]) this.history.violate(`not settled: ${what}`);
    }
    this.#stop.abort();
    this.history.note(`it ends`);
    for (const { process } of this.#replicas.values()) process.die();
    if (this.history.violations.length > 0) await this.#tellRecords();
    const { violations, story, counts } = this.history;
    return {
      ...{ violations: [...violations], story: [`faults: ${this.#drawn}`, ...story] },
      counts: { ...counts, crashes: this.#crashes },
    };
  }

  /** All records and operations as they stand in the end. */
  async #tellRecords(): Promise<void> {
    for (const log of [this.records, this.ops]) {
      for (const { subject, data } of await log.newest(">")) {
        this.history.note(`${subject} ${new TextDecoder().decode(data)}`);
      }
    }
  }

  /** Starts it again whenever it has died. */
  async #keepReplica(address: string): Promise<void> {
    const clock = machineClock(this.clock, this.random);
    await this.clock.sleep(this.random.below(3_000));
    while (!this.#stop.signal.aborted) {
      const process = new SimProcess(this, clock);
      await this.#runReplica(process, address);
      this.history.note(`${address} dies`);
      this.#crashes++;
      this.#replicas.delete(address);
      await this.clock.sleep(100 + this.random.below(8_000));
    }
  }

  async #runReplica(process: SimProcess, address: string): Promise<void> {
    const died = new Promise<void>((resolve) => process.signal.addEventListener("abort", () => resolve()));
    this.history.note(`${address} starts`);
    const starting = startReplica(this, process, address).catch(() => undefined);
    const replica = await Promise.race([starting, died.then(() => undefined)]);
    // Without an answer it is started again, as a supervisor does.
    if (replica === undefined) return process.die();
    this.#replicas.set(address, replica);
    await died;
  }
}
