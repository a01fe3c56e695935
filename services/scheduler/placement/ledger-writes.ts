import { isStillpointError, StillpointError } from "#libs/errors";
import { ledgerName } from "#libs/names";
import type { RecordStore, StoredRecord } from "#libs/records";
import { type Host, hostWith, type Reservation } from "../domain/host.ts";
import type { HeldLedger } from "../hosts/held-ledger.ts";
import type { HostRecords } from "../hosts/host-records.ts";
import type { FreeCapacity } from "./free-capacity.ts";

export interface LedgerWritesDeps {
  readonly records: HostRecords;
  readonly ledgers: RecordStore<HeldLedger>;
  readonly free: FreeCapacity;
  /** False when this replica has lost its part: then it writes nothing. */
  readonly mayWrite: () => boolean;
}

/** What is to become of a host's ledger; gives the host after it, or undefined to leave it as it is. May be asked again. */
export type LedgerChange = (host: Host) => Host | undefined;

/** A ledger, or undefined where there is none. */
type Written = StoredRecord<HeldLedger> | undefined;

interface Waiting {
  readonly change: LedgerChange;
  readonly assumed: Reservation | undefined;
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

/** Somebody else writes the same ledger all the time when it takes longer. */
const attempts = 50;

/**
 * Writes ledgers by compare-and-set: of one host one after the other, of many hosts at once. What comes while a write is
 * under way goes into the next one, all of it together. That begins as soon as the one before is acknowledged; who asked
 * for a change is told when the view knows it, too.
 */
export class LedgerWrites {
  readonly #deps: LedgerWritesDeps;
  /** By host, what waits; a host is in here while somebody writes its ledger. */
  readonly #waiting = new Map<string, Waiting[]>();
  /** By host, what was written from here and is not known to the view yet. */
  readonly #ahead = new Map<string, StoredRecord<HeldLedger>>();

  constructor(deps: LedgerWritesDeps) {
    this.#deps = deps;
  }

  /**
   * Resolves when the change is in the log and the view knows it. Fails when it may or may not be there. `assumed`: what
   * is counted on the host already, until this ends.
   */
  change(host: string, change: LedgerChange, assumed?: Reservation): Promise<void> {
    return new Promise((done, failed) => {
      const queue = this.#waiting.get(host);
      if (queue !== undefined) return void queue.push({ change, assumed, done, failed });
      this.#waiting.set(host, [{ change, assumed, done, failed }]);
      // What is decided in the same turn comes along.
      queueMicrotask(() => void this.#run(host));
    });
  }

  async #run(host: string): Promise<void> {
    for (;;) {
      const together = this.#waiting.get(host) ?? [];
      if (together.length === 0) return void this.#waiting.delete(host);
      this.#waiting.set(host, []);
      const writing = this.#write(host, together);
      void this.#tell(host, together, writing);
      await writing.catch(() => undefined);
    }
  }

  /** When the view knows what was written, or when that has failed. */
  async #tell(host: string, together: readonly Waiting[], writing: Promise<Written>): Promise<void> {
    const failure = await writing
      .then((written) => this.#known(host, written))
      .then(
        () => undefined,
        (error: unknown) => ({ error }),
      );
    this.#deps.free.settle(host, new Set(together.map(({ assumed }) => assumed)));
    for (const { done, failed } of together) {
      if (failure === undefined) done();
      else failed(failure.error);
    }
  }

  async #known(host: string, written: Written): Promise<void> {
    if (written === undefined) return;
    try {
      await this.#deps.records.ledgers.waitFor(written.version);
    } finally {
      if (this.#ahead.get(host) === written) this.#ahead.delete(host);
    }
  }

  /** Gives the ledger with the changes; what was read of it may be newer than what the view knows. */
  async #write(host: string, together: readonly Waiting[]): Promise<Written> {
    const { ledgers, records } = this.#deps;
    const name = ledgerName(host);
    let stored = this.#newest(host, name);
    for (let attempt = 1; attempt <= attempts; attempt++) {
      const { hostVersion = 0 } = stored?.body ?? {};
      await records.hosts.waitFor(hostVersion);
      const after = this.#after(host, stored, together);
      if (after === undefined) return stored;
      const written = await this.#put(name, stored, { name, hostVersion, reservations: after.reservations });
      if (written !== undefined) {
        this.#ahead.set(host, written);
        return written;
      }
      stored = await ledgers.get(name);
    }
    throw new StillpointError("UNAVAILABLE", `${name} is written by others all the time`);
  }

  #newest(host: string, name: string): Written {
    const known = this.#deps.records.ledgers.get(name);
    const ahead = this.#ahead.get(host);
    return (ahead?.version ?? 0) > (known?.version ?? 0) ? ahead : known;
  }

  /** The host with all changes; undefined when none of them changes anything. */
  #after(host: string, stored: StoredRecord<HeldLedger> | undefined, together: readonly Waiting[]): Host | undefined {
    const facts = this.#deps.free.get(host) ?? { ...gone, name: host };
    const before = hostWith(facts, stored?.body.reservations ?? []);
    let after = before;
    for (const { change } of together) after = change(after) ?? after;
    return after === before ? undefined : after;
  }

  /** Undefined when another write was first. */
  async #put(
    name: string,
    stored: StoredRecord<HeldLedger> | undefined,
    body: HeldLedger,
  ): Promise<StoredRecord<HeldLedger> | undefined> {
    const { ledgers, records, mayWrite } = this.#deps;
    if (!mayWrite()) throw new StillpointError("UNAVAILABLE", "this replica of the scheduler has lost its hosts");
    const uid = records.hosts.get(body.name.slice(0, -ledgerName("").length))?.uid ?? body.name;
    try {
      return stored === undefined ? await ledgers.create(name, { uid, body }) : await ledgers.update(stored, { body });
    } catch (error) {
      if (isStillpointError(error, "RECORD_CONFLICT")) return undefined;
      throw error;
    }
  }
}

/** A host whose record is gone takes nothing. */
const gone = {
  availability: "down",
  labels: {},
  capabilities: [],
  capacity: { cpuMillis: 0, memoryBytes: 0, diskBytes: 0 },
} as const;
