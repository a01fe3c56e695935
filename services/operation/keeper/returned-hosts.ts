import { Ledger } from "#contracts/scheduler/v1/scheduler";
import type { Logger } from "#libs/logger";
import { ledgerName } from "#libs/names";
import { decodeRecord, type LogMessage, subjectOfName } from "#libs/records";
import { isAway, type KeepDeps, keepAllOf } from "./keep-workload.ts";

export interface ReturnDeps extends KeepDeps {
  readonly logger: Pick<Logger, "debug">;
  readonly signal: AbortSignal;
}

const ASK_WITHIN_MS = 10_000;

/**
 * Has hosts that are back, or new, keep the records of all that is placed on them: what was written while they were away
 * waited for nobody. Gives the subjects of hosts that do not answer yet.
 */
export async function bringUpToDate(deps: ReturnDeps, messages: readonly LogMessage[]): Promise<Set<string>> {
  const late = new Set<string>();
  const back = new Set(messages.filter(isBack).map(({ data }) => decodeRecord(data).name));
  for (const host of back) {
    try {
      await keepAllOn(deps, host);
    } catch (err) {
      if (await isAway(deps, host)) continue;
      deps.logger.debug({ err, host }, "a host that is back does not keep its records yet");
      late.add(subjectOfName(host));
    }
  }
  return late;
}

function isBack({ data }: LogMessage): boolean {
  const { deleted, events } = decodeRecord(data);
  return deleted !== true && events.some(({ happened }) => happened === "ready");
}

async function keepAllOn(deps: ReturnDeps, host: string): Promise<void> {
  const ledger = await deps.records.read(subjectOfName(ledgerName(host)));
  if (ledger === undefined) return;
  for (const { workload } of Ledger.fromJSON(decodeRecord(ledger.data).body).reservations) {
    const signal = AbortSignal.any([deps.signal, AbortSignal.timeout(ASK_WITHIN_MS)]);
    await keepAllOf(deps, workload, host, signal);
  }
}
