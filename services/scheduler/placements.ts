import type { Host, Ledger } from "#contracts/scheduler/v1/scheduler";
import { isStillpointError, StillpointError } from "#libs/errors";
import { ledgerName } from "#libs/names";
import type { RecordStore } from "#libs/records";
import { describeRefusal, type Explanation, explain } from "./domain/explain.ts";
import type { Host as Candidate, Requirements, Reservation } from "./domain/host.ts";
import { isSame, reclaim, release, reserve } from "./domain/ledger.ts";
import { rank } from "./domain/score.ts";
import { candidates, type HostRecords, toHeld, toWritten } from "./hosts/host-records.ts";

export interface PlacementsDeps {
  readonly records: HostRecords;
  readonly ledgers: RecordStore<Ledger>;
}

/**
 * Takes and gives back capacity. A decision is made on the records in memory and holds once the compare-and-set on the
 * host's ledger went through, which asks the same question again of the very ledger that it writes over. This process
 * decides one placement after the other, so that its own do not run into each other.
 */
export class Placements {
  readonly #deps: PlacementsDeps;
  #last: Promise<unknown> = Promise.resolve();

  constructor(deps: PlacementsDeps) {
    this.#deps = deps;
  }

  /** Gives the host that holds the reservation from now on, or since an earlier call. Fails with NO_HOST_FITS. */
  place(wanted: Reservation): Promise<Host> {
    const turn = this.#last.then(() => this.#place(wanted));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** Gives back everything that a workload holds, on every host or on one. */
  async release(uid: string, host?: string): Promise<void> {
    await this.#change((reservations) => release(reservations, uid), host);
  }

  /** Gives back one reservation that nobody needs any more. */
  async reclaim(lost: Reservation, host: string): Promise<void> {
    await this.#change((reservations) => reclaim(reservations, lost), host);
  }

  explain(requirements: Requirements): Explanation {
    return explain(candidates(this.#deps.records), requirements);
  }

  async #place(wanted: Reservation): Promise<Host> {
    const { records } = this.#deps;
    for (;;) {
      const hosts = candidates(records);
      const holder = hosts.find(({ reservations }) => reservations.some((held) => isSame(held, wanted)));
      if (holder !== undefined) return this.#host(holder.name);
      const [best] = rank(hosts, wanted.requirements);
      if (best === undefined) throw noHostFits(wanted, explain(hosts, wanted.requirements, inProjectOf(wanted)));
      if (await this.#commit(best, wanted)) return this.#host(best.name);
    }
  }

  /** False when the ledger has moved on and the host no longer takes it; the view has caught up by then. */
  async #commit(host: Candidate, wanted: Reservation): Promise<boolean> {
    const { ledgers, records } = this.#deps;
    const name = ledgerName(host.name);
    let answer = reserve(host, wanted);
    const written = await ledgers.modify(name, ({ body }) => {
      answer = reserve({ ...host, reservations: body.reservations.map(toHeld) }, wanted);
      if (answer.kind !== "taken") return undefined;
      return { body: { ...body, reservations: answer.reservations.map(toWritten) } };
    });
    const stored = written ?? (await this.#open(host, wanted));
    if (stored === undefined) return false;
    await records.ledgers.waitFor(stored.version);
    return answer.kind !== "refused";
  }

  /** The first reservation on a host; undefined when another replica was faster. */
  async #open(host: Candidate, wanted: Reservation) {
    const body = { name: ledgerName(host.name), reservations: [toWritten(wanted)] };
    const uid = this.#host(host.name).uid;
    try {
      return await this.#deps.ledgers.create(body.name, { uid, body });
    } catch (error) {
      if (isStillpointError(error, "RECORD_CONFLICT")) return undefined;
      throw error;
    }
  }

  async #change(
    decide: (reservations: readonly Reservation[]) => readonly Reservation[] | undefined,
    host?: string,
  ): Promise<void> {
    const { ledgers, records } = this.#deps;
    const prefix = host === undefined ? "hosts/" : ledgerName(host);
    const touched = records.ledgers.list(prefix).filter(({ body }) => decide(body.reservations.map(toHeld)));
    for (const { name } of touched) {
      const stored = await ledgers.modify(name, ({ body }) => {
        const kept = decide(body.reservations.map(toHeld));
        return kept && { body: { ...body, reservations: kept.map(toWritten) } };
      });
      if (stored !== undefined) await records.ledgers.waitFor(stored.version);
    }
  }

  #host(name: string): Host {
    const host = this.#deps.records.hosts.get(name)?.body;
    if (host === undefined) throw new StillpointError("HOST_NOT_FOUND", `there is no host ${name}`);
    return host;
  }
}

/** `projects/<project>/`, which its workloads begin with. */
function inProjectOf({ workload }: Reservation): (other: string) => boolean {
  const project = `${workload.split("/").slice(0, 2).join("/")}/`;
  return (other) => other.startsWith(project);
}

function noHostFits(wanted: Reservation, explanation: Explanation): StillpointError {
  const perHost = explanation.verdicts
    .slice(0, 100)
    .flatMap(({ host, failure }) => (failure === undefined ? [] : [[host, `${failure.rule}: ${failure.detail}`]]));
  return new StillpointError("NO_HOST_FITS", `no host fits ${wanted.workload}: ${describeRefusal(explanation)}`, {
    metadata: { ...Object.fromEntries(perHost), suggestion: explanation.suggestion },
  });
}
