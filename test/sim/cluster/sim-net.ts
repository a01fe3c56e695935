import { StillpointError } from "#libs/errors";
import type { SimClock, SimRandom } from "../sim-clock.ts";

/** How often messages go wrong; each a probability per message. */
export interface NetFaults {
  readonly lost: number;
  readonly twice: number;
  /** Comes up to some seconds late. */
  readonly delayed: number;
}

export const soundNet: NetFaults = { lost: 0, twice: 0, delayed: 0 };

export interface NetWorld {
  readonly clock: SimClock;
  readonly random: SimRandom;
  netFaults(): NetFaults;
}

const LONGEST_DELAY_MS = 5_000;

/** What is said between hosts and replicas. Every direction of every pair can be cut by itself. */
export class SimNet {
  readonly #world: NetWorld;
  /** When each direction is whole again. */
  readonly #cut = new Map<string, number>();

  constructor(world: NetWorld) {
    this.#world = world;
  }

  cut(from: string, to: string, forMs: number): void {
    this.#cut.set(`${from} ${to}`, this.#world.clock.monotonicMs() + forMs);
  }

  heal(): void {
    this.#cut.clear();
  }

  /** Lets a message arrive: soon, late, twice or never. */
  send(from: string, to: string, deliver: () => void): void {
    const { random } = this.#world;
    const { lost, twice, delayed } = this.#world.netFaults();
    if (this.#isCut(from, to) || random.chance(lost)) return;
    const copies = random.chance(twice) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      const late = random.chance(delayed) ? random.below(LONGEST_DELAY_MS) : 0;
      void this.#world.clock.sleep(1 + random.below(10) + late).then(deliver);
    }
  }

  /** A call and its answer. Fails with UNAVAILABLE when either is lost; then it may have been carried out. */
  async call<Answer>(from: string, to: string, timeoutMs: number, work: () => Promise<Answer>): Promise<Answer> {
    const { clock } = this.#world;
    const answer = Promise.withResolvers<() => Answer>();
    const reply = (give: () => Answer) => this.send(to, from, () => answer.resolve(give));
    const carryOut = () => {
      work().then(
        (value) => reply(() => value),
        (error: unknown) =>
          reply(() => {
            throw error;
          }),
      );
    };
    this.send(from, to, carryOut);
    const late = clock.sleep(timeoutMs).then(() => () => {
      throw new StillpointError("UNAVAILABLE", `${to} does not answer`);
    });
    const given = await Promise.race([answer.promise, late]);
    return given();
  }

  #isCut(from: string, to: string): boolean {
    return this.#world.clock.monotonicMs() < (this.#cut.get(`${from} ${to}`) ?? 0);
  }
}
