import type { Host as HostRecord } from "#contracts/scheduler/v1/scheduler";
import { ledgerName } from "#libs/names";
import type { Mirror } from "#libs/records";
import { type Host, type HostFacts, hostWith, plus, type Requirements, type Reservation } from "../domain/host.ts";
import { HostIndex } from "../domain/host-index.ts";
import { isSame } from "../domain/ledger.ts";
import type { HeldLedger } from "../hosts/held-ledger.ts";
import { factsOf } from "../hosts/host-records.ts";

/** One host, as far as it is known. */
interface Seat {
  /** Absent: there is a ledger and no host. */
  facts?: HostFacts;
  /** As its ledger says. */
  held: readonly Reservation[];
  /** Decided here, and not yet in its ledger. */
  assumed: readonly Reservation[];
}

/**
 * What each host has left, by the records and by what is decided here: a decision counts from the moment that it is
 * made, so that the next one need not wait until it is written.
 */
export class FreeCapacity {
  readonly #seats = new Map<string, Seat>();
  readonly #index = new HostIndex();
  /** The hosts on whose ledgers a uid is; nearly always one. */
  readonly #holders = new Map<string, readonly string[]>();
  /** Reservations that came to a ledger while another one had the same, as long as they are on it. */
  readonly #late = new Set<string>();
  /** Reservations that several ledgers had when the view began: which was first is not known here. */
  readonly #unsure = new Set<string>();
  #isLoading = false;

  /** Goes with the view of hosts. */
  readonly hosts: Mirror<HostRecord> = {
    clear: () => {
      for (const [name, seat] of this.#seats) this.#update(name, withoutFacts(seat));
    },
    set: ({ name, body }) => this.#update(name, { ...this.#seat(name), facts: factsOf(body) }),
    delete: (name) => this.#update(name, withoutFacts(this.#seat(name))),
  };

  /** Goes with the view of ledgers. */
  readonly ledgers: Mirror<HeldLedger> = {
    clear: () => {
      for (const name of this.#seats.keys()) this.#hold(name, []);
      this.#late.clear();
      this.#unsure.clear();
      this.#isLoading = true;
    },
    loaded: () => {
      this.#isLoading = false;
    },
    set: ({ name, body }) => this.#hold(hostOf(name), body.reservations),
    delete: (name) => this.#hold(hostOf(name), []),
  };

  get(host: string): Host | undefined {
    return this.#index.get(host);
  }

  /** All hosts, by name. */
  inOrder(): Host[] {
    return [...this.#index.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** See HostIndex. */
  best(requirements: Requirements, isAllowed: (host: string) => boolean): Host | undefined {
    const { host } = requirements;
    if (host === "") return this.#index.best(requirements, isAllowed);
    const only = new HostIndex();
    const named = this.get(host);
    if (named !== undefined) only.set(named);
    return only.best(requirements, isAllowed);
  }

  /**
   * The host whose ledger has a reservation, of several the one that had it first; undefined when none has. "unsure": of
   * several, and which is going to be given back is not known here.
   */
  holderOf(wanted: Pick<Reservation, "uid" | "operation">): string | undefined {
    const [first, second] = this.#holding(wanted);
    if (second === undefined) this.#unsure.delete(keyOf(wanted));
    return this.#unsure.has(keyOf(wanted)) ? "unsure" : first;
  }

  /** That host is the one of several that had a reservation first. */
  makeSure(first: string, wanted: Pick<Reservation, "uid" | "operation">): void {
    const holders = this.holdersOf(wanted.uid);
    if (holders.includes(first)) this.#holders.set(wanted.uid, [first, ...holders.filter((host) => host !== first)]);
    this.#unsure.delete(keyOf(wanted));
  }

  /** The hosts whose ledgers have anything of a workload. */
  holdersOf(uid: string): readonly string[] {
    return this.#holders.get(uid) ?? [];
  }

  /** Counts a reservation on a host that is about to be written. */
  assume(host: string, wanted: Reservation): void {
    const seat = this.#seat(host);
    const before = this.get(host);
    this.#seats.set(host, { ...seat, assumed: [...seat.assumed, wanted] });
    if (before !== undefined) this.#index.set(plus(before, wanted));
  }

  /** They are in the ledger, or will not be. */
  settle(host: string, settled: ReadonlySet<Reservation | undefined>): void {
    const seat = this.#seat(host);
    this.#update(host, { ...seat, assumed: seat.assumed.filter((assumed) => !settled.has(assumed)) });
  }

  /** True when another ledger had the reservation when it came to this host's; tells it once. */
  wasLate(host: string, wanted: Reservation): boolean {
    return this.#late.delete(lateKey(host, wanted));
  }

  #holding(wanted: Pick<Reservation, "uid" | "operation">): string[] {
    return this.holdersOf(wanted.uid).filter((host) => this.#seat(host).held.some((held) => isSame(held, wanted)));
  }

  #seat(name: string): Seat {
    return this.#seats.get(name) ?? { held: [], assumed: [] };
  }

  #update(name: string, seat: Seat): void {
    const { facts, held, assumed } = seat;
    if (facts === undefined) this.#index.delete(name);
    else this.#index.set(hostWith(facts, [...held, ...assumed.filter((one) => !held.some((it) => isSame(it, one)))]));
    if (facts === undefined && held.length === 0 && assumed.length === 0) this.#seats.delete(name);
    else this.#seats.set(name, seat);
  }

  #hold(name: string, held: readonly Reservation[]): void {
    const seat = this.#seat(name);
    const before = new Set(seat.held.map(({ uid }) => uid));
    const after = new Set(held.map(({ uid }) => uid));
    for (const uid of before) if (!after.has(uid)) this.#release(uid, name);
    for (const reservation of held) if (!before.has(reservation.uid)) this.#take(reservation, name);
    this.#update(name, { ...seat, held });
    if (this.#late.size + this.#unsure.size > 0) this.#forgetGone(name, seat.held, held);
  }

  /** Whether one came late, or who had it first, is of no interest when it is gone. */
  #forgetGone(host: string, before: readonly Reservation[], after: readonly Reservation[]): void {
    const left = new Set(after.map(keyOf));
    for (const reservation of before) {
      if (left.has(keyOf(reservation))) continue;
      this.#late.delete(lateKey(host, reservation));
      if (this.#holding(reservation).length < 2) this.#unsure.delete(keyOf(reservation));
    }
  }

  #take(reservation: Reservation, host: string): void {
    const others = this.holdersOf(reservation.uid).filter((other) => other !== host);
    const had = this.#holding(reservation).some((other) => other !== host);
    if (had && this.#isLoading) this.#unsure.add(keyOf(reservation));
    else if (had) this.#late.add(lateKey(host, reservation));
    this.#holders.set(reservation.uid, [...others, host]);
  }

  #release(uid: string, host: string): void {
    const left = this.holdersOf(uid).filter((other) => other !== host);
    if (left.length === 0) this.#holders.delete(uid);
    else this.#holders.set(uid, left);
  }
}

const withoutFacts = ({ held, assumed }: Seat): Seat => ({ held, assumed });

const keyOf = ({ uid, operation }: Pick<Reservation, "uid" | "operation">): string => `${uid} ${operation}`;

const lateKey = (host: string, { uid, operation }: Reservation): string => `${host} ${uid} ${operation}`;

const hostOf = (ledger: string): string => ledger.slice(0, -ledgerName("").length);
