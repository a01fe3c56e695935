import { Ledger } from "#contracts/scheduler/v1/scheduler";
import { ledgerName } from "#libs/names";
import { decodeRecord, type Log, subjectOfName } from "#libs/records";
import type { Reservation } from "../domain/host.ts";
import { isSame } from "../domain/ledger.ts";

/**
 * Which of several hosts has had a reservation for longest, by what the log still has of their ledgers; undefined when it
 * has not enough. Whoever takes a reservation that another ledger has already gives it back, or dies before that.
 */
export async function firstHolder(
  log: Pick<Log, "follow" | "read">,
  hosts: readonly string[],
  wanted: Reservation,
): Promise<string | undefined> {
  const since = await Promise.all(hosts.map(async (host) => ({ host, ...(await heldSince(log, host, wanted)) })));
  const first = since.toSorted((a, b) => a.sequence - b.sequence).at(0);
  // Of ledgers whose beginning is not kept it is only known that it was there at some time or before.
  const isKnown = since.every((one) => one === first || one.isExact || one.sequence === Number.POSITIVE_INFINITY);
  return isKnown && first?.sequence !== Number.POSITIVE_INFINITY ? first?.host : undefined;
}

interface Since {
  readonly sequence: number;
  /** False: it may have been there before that. */
  readonly isExact: boolean;
}

async function heldSince(log: Pick<Log, "follow" | "read">, host: string, wanted: Reservation): Promise<Since> {
  using ending = new Ending();
  let since: Since | undefined;
  let isOldest = true;
  const subject = subjectOfName(ledgerName(host));
  const newest = (await log.read(subject))?.sequence;
  const messages = newest === undefined ? [] : log.follow(subject, { afterSequence: 0, signal: ending.signal });
  for await (const { data, sequence } of messages) {
    const record = decodeRecord(data);
    since = holds(record, wanted) ? (since ?? { sequence, isExact: !isOldest || record.previous === 0 }) : undefined;
    isOldest = false;
    if (sequence >= (newest ?? 0)) break;
  }
  return since ?? { sequence: Number.POSITIVE_INFINITY, isExact: true };
}

function holds({ deleted, body }: ReturnType<typeof decodeRecord>, wanted: Reservation): boolean {
  return deleted !== true && Ledger.fromJSON(body).reservations.some((held) => isSame(held, wanted));
}

class Ending {
  readonly #controller = new AbortController();

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  [Symbol.dispose](): void {
    this.#controller.abort();
  }
}
