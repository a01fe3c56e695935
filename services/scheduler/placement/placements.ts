import type { PlaceResponse } from "#contracts/scheduler/v1/scheduler";
import { isStillpointError, StillpointError } from "#libs/errors";
import { type Explanation, explain } from "../domain/explain.ts";
import { hostWith, type Requirements, type Reservation } from "../domain/host.ts";
import { type Release, reclaim, release, reserve } from "../domain/ledger.ts";
import type { HostRecords } from "../hosts/host-records.ts";
import type { FreeCapacity } from "./free-capacity.ts";
import type { LedgerWrites } from "./ledger-writes.ts";
import type { OtherReplicas } from "./other-replicas.ts";
import { Refusals } from "./refusals.ts";
import type { Answer, Open, Try } from "./wish.ts";

export interface PlacementsDeps {
  readonly records: HostRecords;
  readonly free: FreeCapacity;
  readonly writes: LedgerWrites;
  readonly others: OtherReplicas;
  /** Resolves when this replica has its share of the hosts; fails with UNAVAILABLE when it does not get it soon. */
  readonly ready: () => Promise<void>;
  /** Of several hosts the one that has held a reservation for longest; undefined when that cannot be known. */
  readonly firstHolder: (hosts: readonly string[], wanted: Reservation) => Promise<string | undefined>;
  /** Resolves when the view of ledgers knows all that was written before now. */
  readonly caughtUp: () => Promise<void>;
}

const rounds = 20;

/**
 * Takes and gives back capacity. A wish is decided on what is known in memory, and holds once the compare-and-set on the
 * host's ledger went through, which asks the same question again of the very ledger that it writes over. What does not
 * fit on this replica's hosts goes to the owner of one that it fits, and when he cannot be reached, is decided here: then
 * the compare-and-set alone keeps us from each other.
 */
export class Placements {
  readonly #deps: PlacementsDeps;
  readonly #underWay = new Map<string, Promise<Answer>>();
  readonly #writing = new Map<string, Promise<Try>>();

  constructor(deps: PlacementsDeps) {
    this.#deps = deps;
  }

  /** Gives the host that holds the reservation from now on, or since an earlier call. Fails with NO_HOST_FITS. */
  async place(wanted: Reservation): Promise<PlaceResponse> {
    const [answer] = await this.placeAll([wanted]);
    if (answer === undefined || answer instanceof StillpointError) throw answer ?? lost();
    return answer;
  }

  /** The same for many at once; each gets its own answer. */
  async placeAll(wishes: readonly Reservation[]): Promise<Answer[]> {
    await this.#deps.ready();
    const fresh = wishes.filter((wanted) => !this.#underWay.has(keyOf(wanted)));
    const decided = this.#decideAll(fresh);
    for (const [index, wanted] of fresh.entries()) {
      const key = keyOf(wanted);
      const answer = decided.then((all) => all[index] ?? lost()).finally(() => this.#underWay.delete(key));
      answer.catch(() => undefined);
      this.#underWay.set(key, answer);
    }
    return await Promise.all(wishes.map(async (wanted) => (await this.#underWay.get(keyOf(wanted))) ?? lost()));
  }

  /** For another replica: on hosts of this one or nowhere. Fails with UNAVAILABLE when it has none at the moment. */
  async placeHere(wishes: readonly Reservation[]): Promise<Answer[]> {
    if (!this.#deps.others.isMember()) throw lost();
    const open = wishes.map((wanted) => ({ wanted, refusedBy: new Set<string>() }));
    return await this.#inRounds(open, async (still) =>
      Promise.all(still.map(async ({ wanted }) => (await this.#here(wanted)) ?? refusedHere(wanted))),
    );
  }

  /** Gives back what a workload holds, on every host or on one. */
  async release(given: Release, host?: string): Promise<void> {
    const { free, ready, caughtUp } = this.#deps;
    await ready();
    await caughtUp();
    const hosts = free.holdersOf(given.uid).filter((holder) => host === undefined || holder === host);
    await Promise.all(hosts.map((holder) => this.#give(holder, (reservations) => release(reservations, given))));
  }

  /** Gives back one reservation that nobody needs any more. */
  async reclaim(unneeded: Reservation, host: string): Promise<void> {
    await this.#give(host, (reservations) => reclaim(reservations, unneeded));
  }

  explain(requirements: Requirements): Explanation {
    return explain(this.#deps.free.inOrder(), requirements);
  }

  async #decideAll(wishes: readonly Reservation[]): Promise<Answer[]> {
    const refusals = new Refusals(this.#deps.free);
    const open = wishes.map((wanted) => ({ wanted, refusedBy: new Set<string>() }));
    return await this.#inRounds(open, async (still) => {
      const here = still.map((one) => this.#here(one.wanted));
      const left = still.filter((_, index) => here[index] === undefined);
      const elsewhere = await this.#deps.others.place(left, (wanted) => this.#here(wanted, true));
      return await Promise.all(
        still.map(async (one, index) => (await here[index]) ?? elsewhere.get(one) ?? refusals.of(one.wanted)),
      );
    });
  }

  /** Until each has an answer. */
  async #inRounds(all: readonly Open[], decide: (still: readonly Open[]) => Promise<Try[]>): Promise<Answer[]> {
    const answers = new Map<Open, Answer>();
    for (let round = 1; round <= rounds && answers.size < all.length; round++) {
      const still = all.filter((one) => !answers.has(one));
      const tries = await decide(still);
      for (const [index, one] of still.entries()) {
        const answer = tries[index];
        if (answer !== undefined && answer !== "again") answers.set(one, answer);
      }
    }
    return all.map((one) => answers.get(one) ?? lost());
  }

  /** On the best host of this replica; `anywhere`: on the best of all. Undefined when it fits none. */
  #here(wanted: Reservation, anywhere = false): Promise<Try> | undefined {
    const { free, others } = this.#deps;
    const key = keyOf(wanted);
    const known = this.#writing.get(key);
    if (known !== undefined) return known;
    const holder = free.holderOf(wanted);
    if (holder === "unsure") return this.#makeSure(wanted);
    if (holder !== undefined) return this.#held(holder, wanted);
    const best = free.best(wanted.requirements, (host) => anywhere || others.isOwn(host));
    if (best === undefined) return undefined;
    free.assume(best.name, wanted);
    const writing = this.#reserve(best.name, wanted).finally(() => this.#writing.delete(key));
    this.#writing.set(key, writing);
    return writing;
  }

  /**
   * Where it is to be elsewhere by now, it has been given back, or is; this replica may only not know it yet. But an
   * operation holds nothing on the host that it began on: who takes the workload for being there has read that after
   * another worker had brought it there, by this very reservation.
   */
  async #held(holder: string, wanted: Reservation): Promise<Try> {
    const { notHost, notHosts } = wanted.requirements;
    if (holder === notHost) return overtaken(wanted, holder);
    if (!notHosts.includes(holder)) return this.#recorded(holder);
    await this.reclaim(wanted, holder);
    return "again";
  }

  async #reserve(host: string, wanted: Reservation): Promise<Try> {
    const { free, writes } = this.#deps;
    let kind = "refused";
    try {
      await writes.change(
        host,
        (before) => {
          const answer = reserve(before, wanted);
          kind = answer.kind;
          return answer.kind === "taken" ? answer.host : undefined;
        },
        wanted,
      );
    } catch (error) {
      if (isStillpointError(error)) return error;
      throw error;
    }
    if (kind === "refused") return "again";
    if (free.holderOf(wanted) === "unsure") return await this.#makeSure(wanted);
    if (!free.wasLate(host, wanted)) return this.#recorded(host);
    // Another replica was asked, too, and was faster: one answer is enough.
    await this.reclaim(wanted, host);
    return "again";
  }

  /** Finds out which of several hosts holds it. */
  async #makeSure(wanted: Reservation): Promise<Try> {
    const { free, firstHolder } = this.#deps;
    const first = await firstHolder(free.holdersOf(wanted.uid), wanted);
    if (first === undefined) return unsure(wanted);
    free.makeSure(first, wanted);
    return "again";
  }

  async #give(
    host: string,
    decide: (reservations: readonly Reservation[]) => readonly Reservation[] | undefined,
  ): Promise<void> {
    await this.#deps.writes.change(host, (before) => {
      const left = decide(before.reservations);
      return left && hostWith(before, left);
    });
  }

  #recorded(name: string): Answer {
    const host = this.#deps.records.hosts.get(name)?.body;
    if (host !== undefined) return { host: name, agentAddress: host.agentAddress };
    return new StillpointError("HOST_NOT_FOUND", `there is no host ${name}`);
  }
}

const keyOf = ({ uid, operation }: Reservation): string => `${uid} ${operation}`;

const lost = () => new StillpointError("UNAVAILABLE", "the hosts change hands all the time");

const unsure = ({ workload }: Reservation) =>
  new StillpointError("UNAVAILABLE", `several hosts hold ${workload} at the moment`);

const overtaken = ({ workload, operation }: Reservation, host: string) =>
  new StillpointError("EPOCH_STALE", `${operation} has brought ${workload} to ${host} already`);

const refusedHere = ({ workload }: Reservation) =>
  new StillpointError("NO_HOST_FITS", `no host of this replica fits ${workload}`);
