import { MemoryLeases } from "#libs/locks";
import { silentLogger } from "#libs/logger";
import { MemoryJobQueue, MemoryJobState, Operations, startRunner } from "#libs/operations";
import { createMemoryLog, type MemoryLog } from "#libs/records";
import { History } from "./history.ts";
import { SimAgent } from "./sim-agent.ts";
import { startClient } from "./sim-client.ts";
import { SimClock, SimRandom } from "./sim-clock.ts";
import { simJobs } from "./sim-jobs.ts";
import { type Faults, noFaults, SimProcess } from "./sim-process.ts";

export interface SimulationResult {
  readonly violations: readonly string[];
  /** What happened, for a person. */
  readonly story: readonly string[];
  readonly terminal: Readonly<Record<string, number>>;
  readonly crashes: number;
  readonly takeovers: number;
}

const TTL_MS = 1_000;
const PROCESSES = 3;
const CLIENTS = 6;
const REQUESTS = 2;
const FAULTY_FOR_MS = 20_000;
const SETTLE_WITHIN_MS = 300_000;

/** Runs the real accept, runner and sweeper on a world that one seed decides, and checks what must always be true. */
export async function simulate(seed: number): Promise<SimulationResult> {
  const simulation = new Simulation(seed);
  return await simulation.run();
}

/** What clients ask: a process that is up now. */
interface Gateway {
  readonly process: SimProcess;
  readonly operations: Operations;
}

class Simulation {
  readonly clock = new SimClock();
  readonly random: SimRandom;
  readonly agent: SimAgent;
  readonly history: History;
  readonly ttlMs = TTL_MS;
  readonly #ops: MemoryLog;
  readonly #records: MemoryLog;
  readonly #jobs: MemoryJobQueue;
  readonly #jobState = new MemoryJobState();
  readonly #leases: MemoryLeases;
  readonly #stop = new AbortController();
  #faults: Faults;
  #gateways: Gateway[] = [];
  #started = 0;
  #crashes = 0;

  constructor(seed: number) {
    this.random = new SimRandom(seed);
    this.agent = new SimAgent(this.clock, this.random);
    this.#ops = createMemoryLog(this.clock, { maxPerSubject: 1 });
    this.#records = createMemoryLog(this.clock);
    this.#jobs = new MemoryJobQueue(this.clock);
    this.#leases = new MemoryLeases({ clock: this.clock, random: this.random });
    this.history = new History(this.#ops, this.#records, this.clock);
    this.#faults = {
      crash: 0.004 + this.random.next() * 0.02,
      pause: this.random.next() * 0.01,
      unknown: this.random.next() * 0.1,
      unavailable: this.random.next() * 0.1,
      late: 0,
      lag: 0,
      lostHint: this.random.next() * 0.5,
      repeatedHint: this.random.next() * 0.5,
    };
  }

  faults(): Faults {
    return this.#faults;
  }

  async run(): Promise<SimulationResult> {
    for (let index = 0; index < PROCESSES; index++) void this.#keepProcess(index > 0);
    void this.#forgetNowAndThen();
    const clients = Array.from({ length: CLIENTS }, (_, index) => startClient(this, index, REQUESTS));
    let answered = false;
    void Promise.all(clients).then(() => {
      answered = true;
    });
    void this.clock.sleep(FAULTY_FOR_MS).then(() => {
      this.#faults = noFaults;
    });
    const settled = () => answered && this.history.unfinished().length === 0;
    const isSettled = await this.clock.runUntil(settled, FAULTY_FOR_MS + SETTLE_WITHIN_MS);
    if (!isSettled) this.history.violations.push(`not settled: ${this.history.unfinished().join(", ") || "clients"}`);
    this.history.checkEnd(this.agent);
    this.#stop.abort();
    for (const { process } of this.#gateways) process.die();
    return {
      violations: [...this.history.violations, ...this.agent.violations],
      story: this.history.story(this.agent),
      terminal: this.history.terminalCounts(),
      crashes: this.#crashes,
      takeovers: this.history.takeovers(),
    };
  }

  /** A process that is up, where there is one. */
  gateway(): Gateway | undefined {
    return this.#gateways[this.random.below(this.#gateways.length)];
  }

  /** Starts a process again whenever it has died. What one without a worker accepts goes through the queue. */
  async #keepProcess(works: boolean): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const process = new SimProcess(this);
      await this.#runProcess(process, works);
      this.#crashes++;
      await this.clock.sleep(100 + this.random.below(3 * TTL_MS));
    }
  }

  async #runProcess(process: SimProcess, works: boolean): Promise<void> {
    const died = new Promise<void>((resolve) => process.signal.addEventListener("abort", () => resolve()));
    const { random } = this;
    const starting = Operations.start({
      ops: process.log(this.#ops),
      records: process.log(this.#records),
      jobs: process.jobs(this.#jobs),
      jobState: process.jobState(this.#jobState),
      leases: process.leases(this.#leases),
      clock: process.clock,
      random,
      logger: silentLogger,
      signal: process.signal,
    });
    // Without an answer it is started again, as a supervisor does.
    const operations = await Promise.race([starting.catch(() => undefined), died.then(() => undefined)]);
    if (operations === undefined) return process.die();
    const gateway = { process, operations };
    if (works) this.#startWorker(gateway);
    this.#gateways.push(gateway);
    await died;
    this.#gateways = this.#gateways.filter((other) => other !== gateway);
  }

  #startWorker({ process, operations }: Gateway): void {
    startRunner(operations, {
      jobs: simJobs(this, process, process.log(this.#records), operations),
      ttlMs: TTL_MS,
      concurrency: 4,
      worker: `worker-${++this.#started}`,
    });
  }

  /** FLUSHALL, and a NATS that comes back without its hints. */
  async #forgetNowAndThen(): Promise<void> {
    for (;;) {
      await this.clock.sleep(500 + this.random.below(4_000));
      if (this.#faults === noFaults) return;
      if (this.random.chance(0.5)) this.#leases.flush();
      if (this.random.chance(0.5)) this.#jobState.flush();
      if (this.random.chance(0.3)) this.#jobs.flush();
    }
  }
}
