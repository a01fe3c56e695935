import { Ledger } from "#contracts/scheduler/v1/scheduler";
import type { Json } from "#libs/records";
import { type Reservation, usedBy } from "../../../services/scheduler/domain/host.ts";
import { toHeld } from "../../../services/scheduler/hosts/written.ts";
import { gib, hostCpus } from "./host-size.ts";

/** What is known beside ledgers. */
export interface LedgerWorld {
  note(line: string): void;
  violate(what: string): void;
  isOver(operation: string | undefined): boolean;
  vmOf(uid: string): { readonly host: string } | undefined;
}

interface Placed {
  readonly uid: string;
  readonly operation: string;
  readonly host: string;
}

/** What must be true of ledgers, as they stand in the log. */
export class LedgerChecks {
  readonly #history: LedgerWorld;
  readonly #held = new Map<string, readonly Reservation[]>();
  /** What somebody was told. */
  readonly #placed: Placed[] = [];
  /** Uids that somebody has given back. */
  readonly #released = new Set<string>();

  constructor(history: LedgerWorld) {
    this.#history = history;
  }

  holdersOf(uid: string): string[] {
    return [...this.#held].filter(([, all]) => all.some((held) => held.uid === uid)).map(([host]) => host);
  }

  on(host: string): readonly Reservation[] {
    return this.#held.get(host) ?? [];
  }

  releasing(uid: string): void {
    this.#released.add(uid);
  }

  placed(placed: Placed): void {
    const { uid, operation, host } = placed;
    this.#history.note(`${uid} is placed on ${host} for ${operation}`);
    this.#placed.push(placed);
    const isGone = this.#released.has(uid) || this.#history.isOver(operation);
    if (!isGone && !this.#holds(placed)) this.#history.violate(`${uid} is said to be on ${host}, and is on no ledger`);
  }

  written(host: string, body: Json): void {
    const reservations = Ledger.fromJSON(body).reservations.map(toHeld);
    const before = this.on(host);
    this.#held.set(host, reservations);
    this.#history.note(`${host} holds ${reservations.map(({ uid, operation }) => `${uid}/${operation}`).join(", ")}`);
    const { cpuMillis, memoryBytes } = usedBy(reservations);
    if (cpuMillis > hostCpus * 1_000 || memoryBytes > hostCpus * gib) {
      this.#history.violate(`${host} is over-committed: ${cpuMillis / 1_000} cpus, ${memoryBytes / gib} GiB`);
    }
    for (const gone of before) if (!reservations.some((held) => same(held, gone))) this.#gone(host, gone);
  }

  /** Nobody takes away what is needed. */
  #gone(host: string, { uid, operation }: Reservation): void {
    if (!this.#placed.some((placed) => placed.host === host && same(placed, { uid, operation }))) return;
    const lives = this.#history.vmOf(uid)?.host === host;
    const isNeeded = lives || !this.#history.isOver(operation);
    if (isNeeded && !this.#released.has(uid)) this.#history.violate(`${uid} was told it is on ${host}, and is not now`);
  }

  #holds({ uid, operation, host }: Placed): boolean {
    return this.on(host).some((held) => same(held, { uid, operation }));
  }
}

const same = (a: { uid: string; operation: string }, b: { uid: string; operation: string }): boolean =>
  a.uid === b.uid && a.operation === b.operation;
