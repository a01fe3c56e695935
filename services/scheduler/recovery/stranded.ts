import { HostState } from "#contracts/scheduler/v1/scheduler";
import { isStillpointError } from "#libs/errors";
import { ledgerName } from "#libs/names";
import type { Json, StoredRecord } from "#libs/records";
import { isUnrecovered, type WorkloadBody } from "#libs/workloads";
import { askRecovery, unanswered } from "./ask-recovery.ts";
import type { RecoveriesDeps } from "./recoveries.ts";

export type StrandedDeps = Omit<RecoveriesDeps, "operations" | "mustWait">;

/** A workload that may be stranded on a host. */
export interface Suspect {
  readonly workload: string;
  readonly uid: string;
  /** hosts/<host> */
  readonly host: string;
}

interface Open extends Suspect {
  readonly looks: number;
  /** Nothing is done before that monotonic time. */
  readonly notBeforeMs: number;
}

/** What became of a look: it was asked for, or may yet have to be, or nothing is left to be done. */
type Found = "asked" | "open" | "over";

const readsAtOnce = 16;
/** In one tick, and a few more: what people ask of the same service does not wait behind all of them. */
const asksPerTick = 16;
const firstPauseMs = 1_000;
const longestPauseMs = 60_000;

/**
 * Has what was to run, and could not be recovered while its host was down, started on that host when it is back: nobody
 * else does. Its record says so, and so it is asked for once, whichever replica asks. Looked at are the workloads of each
 * host of this replica that was seen down and is back, and those that are pointed out.
 */
export class Stranded {
  readonly #deps: StrandedDeps;
  /** Hosts that were down at the last look. */
  readonly #down = new Set<string>();
  /** By uid. */
  readonly #open = new Map<string, Open>();

  constructor(deps: StrandedDeps) {
    this.#deps = deps;
  }

  /** Has one looked at soon. */
  suspect(suspect: Suspect): void {
    const known = this.#open.get(suspect.uid);
    if (known?.host !== suspect.host) this.#open.set(suspect.uid, { ...suspect, looks: 0, notBeforeMs: 0 });
  }

  /** Call it each second or so. */
  async tick(): Promise<void> {
    this.#seeHosts();
    const nowMs = this.#deps.clock.monotonicMs();
    const due = [...this.#open.values()].filter(({ notBeforeMs }) => notBeforeMs <= nowMs);
    let asks = 0;
    const worker = async () => {
      for (let next = due.shift(); next !== undefined && asks < asksPerTick; next = due.shift()) {
        if ((await this.#seeTo(next)) === "asked") asks++;
      }
    };
    await Promise.all(Array.from({ length: readsAtOnce }, worker));
  }

  #seeHosts(): void {
    const { records, owns } = this.#deps;
    for (const { name: host, body } of records.hosts.values()) {
      if (body.state === HostState.DOWN) {
        this.#down.add(host);
      } else if (this.#down.delete(host) && owns(host)) {
        const reservations = records.ledgers.get(ledgerName(host))?.body.reservations ?? [];
        for (const { workload, uid } of reservations) this.suspect({ workload, uid, host });
      }
    }
  }

  async #seeTo(open: Open): Promise<Found> {
    const { uid, looks } = open;
    const found = await this.#look(open);
    const pauseMs = Math.min(firstPauseMs * 2 ** looks, longestPauseMs);
    const notBeforeMs = this.#deps.clock.monotonicMs() + pauseMs;
    if (found === "over") this.#open.delete(uid);
    else this.#open.set(uid, { ...open, looks: looks + 1, notBeforeMs });
    return found;
  }

  async #look({ workload, uid, host }: Open): Promise<Found> {
    const { records, readWorkload } = this.#deps;
    const state = records.hosts.get(host)?.body.state;
    // What is on a host that is down is to be recovered.
    if (state === undefined || state === HostState.DOWN) return "over";
    const record = await readWorkload(workload);
    const body = record?.body as Partial<WorkloadBody> | undefined;
    if (record?.uid !== uid || body?.host !== host) return "over";
    if (isUnrecovered(body)) return await this.#ask(record, host);
    // What holds it may find that it cannot be recovered.
    return record.operation === undefined ? "over" : "open";
  }

  async #ask({ name, uid, version }: StoredRecord<Json>, host: string): Promise<Found> {
    try {
      await askRecovery(this.#deps, { name, host, requestId: `stranded-${uid}-${version}` });
      return "asked";
    } catch (err) {
      if (!isStillpointError(err)) throw err;
      this.#deps.logger.warn({ err, workload: name, host }, "it was not recovered, and is not started on its host yet");
      return unanswered.has(err.reason) || err.reason === "TARGET_BUSY" ? "open" : "over";
    }
  }
}
