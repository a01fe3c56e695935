import type { Clock } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { Lease, Leases } from "#libs/locks";
import type { JobHint, JobQueue, JobState, LiveState, TakeOptions } from "#libs/operations";
import type { AppendOptions, FollowedMessage, FollowOptions, Log, LogMessage } from "#libs/records";
import type { SimClock, SimRandom } from "./sim-clock.ts";

/** How often things go wrong; each a probability per call. */
export interface Faults {
  readonly crash: number;
  /** Sleeps for more than a ttl at a port, as a process does that was stopped, or whose machine was. */
  readonly pause: number;
  /** A write whose answer is lost, applied or not. */
  readonly unknown: number;
  readonly unavailable: number;
  /** A write whose answer is lost, and which comes later, up to twice a ttl. */
  readonly late: number;
  /** A message that a follower of the log gets later, up to a ttl; those after it wait behind it. */
  readonly lag: number;
  readonly lostHint: number;
  readonly repeatedHint: number;
}

export const noFaults: Faults = {
  ...{ crash: 0, pause: 0, unknown: 0, unavailable: 0, late: 0, lag: 0 },
  ...{ lostHint: 0, repeatedHint: 0 },
};

export interface ProcessWorld {
  readonly clock: SimClock;
  readonly random: SimRandom;
  readonly ttlMs: number;
  /** May change while the simulation goes on. */
  faults(): Faults;
}

const never = new Promise<never>(() => undefined);

/**
 * One process: all that it does to the world goes through `port`, where it may die (what it waited for never comes),
 * stand still for longer than its leases live, or lose an answer.
 */
export class SimProcess {
  readonly #world: ProcessWorld;
  readonly #died = new AbortController();
  #pausedUntilMs = 0;
  #withoutLogUntilMs = 0;
  /** Its own: processes on different machines do not agree about the time. */
  readonly clock: Clock;

  constructor(world: ProcessWorld, clock: Clock = world.clock) {
    this.#world = world;
    this.clock = {
      now: () => clock.now(),
      monotonicMs: () => clock.monotonicMs(),
      sleep: async (ms, signal) => {
        await clock.sleep(ms, signal);
        await this.awake();
      },
    };
  }

  get signal(): AbortSignal {
    return this.#died.signal;
  }

  get isDead(): boolean {
    return this.#died.signal.aborted;
  }

  die(): void {
    this.#died.abort(new Error("the process died"));
  }

  /** It reaches no log for so long. */
  cutOffFromLog(ms: number): void {
    this.#withoutLogUntilMs = this.#world.clock.monotonicMs() + ms;
  }

  /** A call to something outside: dies or stands still before or after it, in the middle of everything. */
  async port<Result>(call: () => Promise<Result>): Promise<Result> {
    await this.#point();
    const result = await call().then(
      (value) => () => value,
      (error: unknown) => () => {
        throw error;
      },
    );
    await this.#point();
    return result();
  }

  async #point(): Promise<void> {
    const { random, clock, ttlMs } = this.#world;
    const faults = this.#world.faults();
    if (!this.isDead && random.chance(faults.crash)) this.die();
    if (random.chance(faults.pause)) this.#pausedUntilMs = clock.monotonicMs() + ttlMs * (1 + 2 * random.next());
    await clock.sleep(random.below(4));
    await this.awake();
  }

  /** Resolves when it stands still no more; never when it has died. */
  async awake(): Promise<void> {
    const { clock } = this.#world;
    while (!this.isDead && clock.monotonicMs() < this.#pausedUntilMs) {
      await clock.sleep(this.#pausedUntilMs - clock.monotonicMs());
    }
    if (this.isDead) await never;
  }

  log(log: Log): Log {
    const { random } = this.#world;
    const fault = async (applied: () => Promise<number>): Promise<number> => {
      const { unknown, late } = this.#world.faults();
      await this.#reachLog();
      if (late > 0 && random.chance(late)) return await this.#late(applied);
      if (!random.chance(unknown)) return await applied();
      // The answer is lost, whatever it was.
      if (random.chance(0.5)) await applied().catch(() => undefined);
      throw new StillpointError("OUTCOME_UNKNOWN", "no answer");
    };
    const reading = async <Answer>(read: () => Promise<Answer>): Promise<Answer> => {
      await this.#reachLog();
      return await read();
    };
    return {
      read: (subject: string): Promise<LogMessage | undefined> => this.port(() => reading(() => log.read(subject))),
      append: (subject: string, data: Uint8Array, options: AppendOptions) =>
        this.port(() => fault(() => log.append(subject, data, options))),
      newest: (filter: string) => this.port(() => log.newest(filter)),
      lastSequence: () => this.port(() => log.lastSequence()),
      follow: (filter: string, options: FollowOptions) => this.#follow(log, filter, options),
    };
  }

  async #reachLog(): Promise<void> {
    const { random, clock } = this.#world;
    const isCutOff = clock.monotonicMs() < this.#withoutLogUntilMs;
    if (isCutOff) await clock.sleep(1_000);
    if (isCutOff || random.chance(this.#world.faults().unavailable)) {
      throw new StillpointError("UNAVAILABLE", "the log is away");
    }
  }

  async #late(applied: () => Promise<number>): Promise<never> {
    const { random, clock, ttlMs } = this.#world;
    void clock.sleep(random.below(2 * ttlMs)).then(() => applied().catch(() => undefined));
    await clock.sleep(random.below(ttlMs / 2));
    throw new StillpointError("OUTCOME_UNKNOWN", "no answer");
  }

  async *#follow(log: Log, filter: string, options: FollowOptions): AsyncGenerator<FollowedMessage> {
    for await (const message of log.follow(filter, options)) {
      await this.#onTheWay();
      yield message;
    }
  }

  async #onTheWay(): Promise<void> {
    const { random, clock, ttlMs } = this.#world;
    const { lag } = this.#world.faults();
    await clock.sleep(random.below(lag > 0 && random.chance(lag) ? ttlMs : 6));
    const cutOffMs = this.#withoutLogUntilMs - clock.monotonicMs();
    if (cutOffMs > 0) await clock.sleep(cutOffMs);
    await this.awake();
  }

  jobState(jobState: JobState): JobState {
    return {
      write: (states: readonly LiveState[]) => this.port(() => this.#redis(() => jobState.write(states))),
      read: (ids: readonly string[]) => this.port(() => this.#redis(() => jobState.read(ids))),
    };
  }

  leases(leases: Leases): Leases {
    return {
      acquire: (key, ttlMs) => this.port(() => this.#redis(async () => this.#lease(await leases.acquire(key, ttlMs)))),
    };
  }

  /** A dead process renews nothing: its lease runs out. */
  #lease(lease: Lease | undefined): Lease | undefined {
    const { clock, ttlMs } = this.#world;
    const runOut = () => void clock.sleep(ttlMs).then(() => lease?.release());
    this.signal.addEventListener("abort", runOut, { once: true });
    return lease;
  }

  async #redis<Result>(call: () => Promise<Result>): Promise<Result> {
    if (this.#world.random.chance(this.#world.faults().unavailable)) {
      throw new StillpointError("UNAVAILABLE", "Redis is away");
    }
    return await call();
  }

  jobs(jobs: JobQueue): JobQueue {
    const { random, clock } = this.#world;
    return {
      hint: (service, operationId) => {
        const { lostHint, repeatedHint } = this.#world.faults();
        const copies = random.chance(lostHint) ? 0 : random.chance(repeatedHint) ? 2 : 1;
        for (let copy = 0; copy < copies; copy++) {
          void clock.sleep(random.below(20)).then(() => jobs.hint(service, operationId));
        }
      },
      take: (service, options) => this.#take(jobs, service, options),
    };
  }

  async *#take(jobs: JobQueue, service: string, options: TakeOptions): AsyncGenerator<JobHint> {
    const signal = AbortSignal.any([options.signal, this.signal]);
    for await (const hint of jobs.take(service, { ...options, signal })) {
      await this.awake();
      yield hint;
    }
  }
}
