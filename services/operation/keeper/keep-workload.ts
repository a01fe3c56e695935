import { Host, HostState } from "#contracts/scheduler/v1/scheduler";
import type { HostManifests } from "#libs/host-agent";
import { decodeRecord, type Log, type LogMessage, subjectOfName } from "#libs/records";
import { toKept } from "./sets.ts";

export interface KeepDeps {
  /** Stream REC. */
  readonly records: Pick<Log, "read" | "newest">;
  readonly manifests: Pick<HostManifests, "keep">;
}

/** Has its host keep all records of a workload; nothing is to be done for one that is gone, or that is on another host. */
export async function keepAllOf({ records, manifests }: KeepDeps, workload: string, host: string, signal: AbortSignal) {
  const subject = subjectOfName(workload);
  const own = await records.read(subject);
  if (own === undefined) return;
  const { uid, body, deleted } = decodeRecord(own.data);
  if (deleted === true || body.host !== host) return;
  const all: LogMessage[] = [own, ...(await records.newest(`${subject}.>`))];
  await manifests.keep(host, { uid, records: all.map(toKept) }, signal);
}

/**
 * True for a host that is down or forgotten, as the log has it now. What it does not get now it gets when it is back, which
 * is written after that: nobody waits for it.
 */
export async function isAway({ records }: Pick<KeepDeps, "records">, host: string): Promise<boolean> {
  const found = await records.read(subjectOfName(host));
  if (found === undefined) return true;
  const { deleted, body } = decodeRecord(found.data);
  return deleted === true || Host.fromJSON(body).state === HostState.DOWN;
}
