import type { Vm } from "#contracts/vm/v1/vm";
import type { Logger } from "#libs/logger";
import { ledgerName } from "#libs/names";
import type { Json, StoredRecord } from "#libs/records";
import { isUnrecovered } from "#libs/workloads";
import type { Reservation } from "../domain/host.ts";
import type { HeldLedger } from "../hosts/held-ledger.ts";
import type { HostRecords } from "../hosts/host-records.ts";
import type { Suspect } from "../recovery/stranded.ts";
import type { Placements } from "./placements.ts";

export interface ReconcilerDeps {
  readonly records: Pick<HostRecords, "ledgers">;
  readonly placements: Pick<Placements, "reclaim">;
  /** Whether this replica looks after a host. */
  readonly owns: (host: string) => boolean;
  /** True while the operation may still go on; `operation` is operations/<id>. */
  readonly isUnfinished: (operation: string) => Promise<boolean>;
  /** A workload as it stands now, from the leader. */
  readonly readWorkload: (name: string) => Promise<StoredRecord<Json> | undefined>;
  /** Told of each that was not recovered when its host was down. */
  readonly unrecovered: (suspect: Suspect) => void;
  readonly logger: Logger;
  /** How many reservations one round looks at, or few more; 1000 if unsaid. */
  readonly perRound?: number;
}

/** Why a reservation stays; "lost": nothing needs it. */
type Need = "lives" | "unfinished" | "lost";

const atOnce = 16;

/**
 * Gives back capacity that nobody needs: neither does the operation that took it go on, nor is there a workload of
 * that uid on that host. Each round looks at the ledgers that have changed first, then at a part of all the others.
 */
export class Reconciler {
  readonly #deps: ReconcilerDeps;
  /** By ledger, the version in which everything was found to live. */
  readonly #settled = new Map<string, number>();
  /** The ledger with which the last round ended. */
  #last = "";

  constructor(deps: ReconcilerDeps) {
    this.#deps = deps;
  }

  /** Gives how many reservations it gave back. */
  async round(): Promise<number> {
    let reclaimed = 0;
    for (const ledger of this.#due()) {
      const host = ledger.name.slice(0, -ledgerName("").length);
      const needs = await this.#needs(ledger.body.reservations, host);
      for (const [reservation, need] of needs) if (need === "lost") await this.#reclaim(reservation, host);
      reclaimed += [...needs.values()].filter((need) => need === "lost").length;
      if ([...needs.values()].every((need) => need === "lives")) this.#settled.set(ledger.name, ledger.version);
    }
    return reclaimed;
  }

  #due(): StoredRecord<HeldLedger>[] {
    const { records, owns, perRound = 1_000 } = this.#deps;
    const own = records.ledgers.list().filter(({ name }) => owns(name.slice(0, -ledgerName("").length)));
    if (this.#settled.size > own.length) this.#forgetOthers(own);
    const changed = own.filter(({ name, version }) => this.#settled.get(name) !== version);
    const rest = own.filter(({ name, version }) => this.#settled.get(name) === version);
    const next = rest.findIndex(({ name }) => name > this.#last);
    const turned = next < 0 ? rest : [...rest.slice(next), ...rest.slice(0, next)];
    const due: StoredRecord<HeldLedger>[] = [];
    let left = perRound;
    for (const ledger of [...changed, ...turned]) {
      if (left <= 0) break;
      left -= Math.max(1, ledger.body.reservations.length);
      due.push(ledger);
    }
    this.#last = due.findLast(({ name, version }) => this.#settled.get(name) === version)?.name ?? this.#last;
    return due;
  }

  /** Ledgers that are gone, or looked after elsewhere. */
  #forgetOthers(own: readonly StoredRecord<HeldLedger>[]): void {
    const names = new Set(own.map(({ name }) => name));
    for (const name of this.#settled.keys()) if (!names.has(name)) this.#settled.delete(name);
  }

  async #needs(reservations: readonly Reservation[], host: string): Promise<Map<Reservation, Need>> {
    const needs = new Map<Reservation, Need>();
    const waiting = reservations.values();
    const work = async () => {
      for (const reservation of waiting) needs.set(reservation, await this.#need(reservation, host));
    };
    await Promise.all(Array.from({ length: atOnce }, work));
    return needs;
  }

  async #need({ workload, uid, operation }: Reservation, host: string): Promise<Need> {
    const { isUnfinished, readWorkload, unrecovered } = this.#deps;
    const record = await readWorkload(workload);
    if (livesOn(record, uid, host)) {
      if (isUnrecovered(record?.body ?? {})) unrecovered({ workload, uid, host });
      return "lives";
    }
    // First the operation, then the record: an operation writes the record before it ends.
    if (await isUnfinished(operation)) return "unfinished";
    return livesOn(await readWorkload(workload), uid, host) ? "lives" : "lost";
  }

  async #reclaim(reservation: Reservation, host: string): Promise<void> {
    const { placements, logger } = this.#deps;
    await placements.reclaim(reservation, host);
    const { uid, workload } = reservation;
    logger.warn({ host, uid, workload }, "a lost reservation was given back");
  }
}

/** Also where it is still whole that was moved away: it may have to go back. */
function livesOn(record: StoredRecord<Json> | undefined, uid: string, host: string): boolean {
  if (record === undefined || record.uid !== uid) return false;
  const { host: at, movedFrom } = record.body as Partial<Pick<Vm, "host" | "movedFrom">>;
  return at === host || movedFrom?.host === host;
}
