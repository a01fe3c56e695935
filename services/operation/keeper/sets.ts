import { createHash } from "node:crypto";
import type { KeptRecord } from "#contracts/host/v1/agent";
import { decodeRecord, type LogMessage } from "#libs/records";

/** Records that are kept together: those of one workload, or one that belongs to none. */
export interface RecordSet {
  /** Resource name of the workload; undefined for a record of none. */
  readonly workload: string | undefined;
  readonly messages: readonly LogMessage[];
}

const WORKLOAD = /^projects\/[^/]+\/(?:vms|containers)\/[^/]+/;
/** On how many hosts a record of no workload is kept. */
const COPIES = 3;

/** The newest message of each subject, by what they belong to. Pure. */
export function recordSets(messages: readonly LogMessage[]): RecordSet[] {
  const newest = new Map<string, LogMessage>();
  for (const message of messages) {
    if (message.sequence > (newest.get(message.subject)?.sequence ?? 0)) newest.set(message.subject, message);
  }
  const sets = new Map<string, LogMessage[]>();
  for (const message of newest.values()) {
    const { name } = decodeRecord(message.data);
    const key = WORKLOAD.exec(name)?.[0] ?? name;
    sets.set(key, [...(sets.get(key) ?? []), message]);
  }
  return [...sets].map(([key, all]) => ({ workload: WORKLOAD.test(key) ? key : undefined, messages: all }));
}

/** The hosts that keep a record of no workload: the same ones for every asker. Pure. */
export function keepersOf(name: string, hosts: readonly string[]): string[] {
  const weight = (host: string) => createHash("sha256").update(`${host} ${name}`).digest("hex");
  return hosts
    .map((host) => ({ host, weight: weight(host) }))
    .sort((a, b) => (a.weight < b.weight ? -1 : 1))
    .slice(0, COPIES)
    .map(({ host }) => host);
}

/** True for a write after which a workload is on another host, where nothing of it is kept yet. */
export function hasMoved({ data }: LogMessage): boolean {
  return decodeRecord(data).events.some(({ happened }) => happened === "moved" || happened === "recovered");
}

/** As a host keeps it. */
export function toKept({ sequence, data }: LogMessage): KeptRecord {
  const { name, deleted = false } = decodeRecord(data);
  return { name, version: sequence, message: data, deleted };
}
