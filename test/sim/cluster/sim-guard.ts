import type { Clock } from "#libs/clock";
import type { FenceChange } from "../../../services/agent/lease/fence-protocol.ts";
import type { SimRandom } from "../sim-clock.ts";
import type { ClusterHistory } from "./cluster-history.ts";
import type { Mutations } from "./mutations.ts";

export interface GuardWorld {
  readonly random: Pick<SimRandom, "below">;
  readonly history: Pick<ClusterHistory, "leased" | "runs" | "rests" | "lost">;
  readonly mutations: Mutations;
}

/** As the real one looks at its clock. */
const LOOK_MS = 100;

/** The fence guard of a host: its children run only until its deadline, or little longer, whatever becomes of the agent. */
export class SimGuard {
  readonly #world: GuardWorld;
  readonly #clock: Clock;
  readonly #host: string;
  /** By uid, when it was paused; undefined: it runs. */
  readonly #children = new Map<string, number | undefined>();
  #deadlineMs = 0;
  #isWatching = false;
  #paused = Promise.withResolvers<void>();
  /** Who is told of changes. */
  listener: (change: FenceChange) => void = () => undefined;

  constructor(world: GuardWorld, clock: Clock, host: string) {
    this.#world = world;
    this.#clock = clock;
    this.#host = host;
  }

  /** Resolves when the next child is paused. */
  get paused(): Promise<void> {
    return this.#paused.promise;
  }

  list(): string[] {
    return [...this.#children.keys()];
  }

  runs(uid: string): boolean {
    return this.#children.has(uid) && this.#children.get(uid) === undefined;
  }

  heldAtMs(uid: string): number | undefined {
    return this.#children.get(uid);
  }

  /** True while the host may believe that nobody else runs what is placed on it. */
  get hasLease(): boolean {
    return this.#clock.monotonicMs() < this.#deadlineMs;
  }

  renew(deadlineMs: number): void {
    this.#deadlineMs = Math.max(this.#deadlineMs, deadlineMs);
    if (this.hasLease) this.#world.history.leased(this.#host);
  }

  /** False when the deadline has passed, or it is held. */
  start(uid: string): boolean {
    if (!this.hasLease || this.heldAtMs(uid) !== undefined) return false;
    this.#children.set(uid, undefined);
    this.#world.history.runs(this.#host, uid, "starts");
    void this.#watch();
    return true;
  }

  resume(uid: string): void {
    if (!this.#children.has(uid) || !this.hasLease) return;
    this.#children.set(uid, undefined);
    this.#world.history.runs(this.#host, uid, "goes on");
    this.listener({ resumed: uid });
    void this.#watch();
  }

  /** Pauses one that runs. */
  hold(uid: string): void {
    if (!this.runs(uid)) return;
    const atMs = this.#clock.monotonicMs();
    this.#children.set(uid, atMs);
    this.#world.history.rests(this.#host, uid, "is paused");
    this.listener({ held: uid, atMs });
    this.#paused.resolve();
    this.#paused = Promise.withResolvers();
  }

  end(uid: string, why: string): void {
    if (!this.#children.delete(uid)) return;
    this.#world.history.rests(this.#host, uid, why);
    this.listener({ gone: uid });
  }

  /** Its children die with it. */
  die(): void {
    for (const uid of this.list()) {
      this.end(uid, "its host dies");
      this.#world.history.lost(uid);
    }
    this.#deadlineMs = 0;
  }

  /** Looks while there is something that runs. */
  async #watch(): Promise<void> {
    const { random, mutations } = this.#world;
    if (this.#isWatching) return;
    this.#isWatching = true;
    while (this.list().some((uid) => this.runs(uid))) {
      const leftMs = Math.max(0, this.#deadlineMs - this.#clock.monotonicMs());
      await this.#clock.sleep(leftMs + random.below(LOOK_MS) + (mutations.lateGuardMs ?? 0));
      if (!this.hasLease) for (const uid of this.list()) this.hold(uid);
    }
    this.#isWatching = false;
  }
}
