import type { WorkloadManifest } from "#contracts/host/v1/agent";
import type { RebuildFinding } from "#contracts/operation/v1/admin";
import type { Json, RecordEvent } from "#libs/records";

/** One state of a record, from wherever it was found. Versions are comparable: sequences never go back. */
export interface KnownRecord {
  readonly name: string;
  readonly uid: string;
  readonly version: number;
  readonly deleted: boolean;
  /** Id of the operation that held it. */
  readonly operation?: string | undefined;
  readonly body: Json;
}

/** A host, and what it says of itself; without facts it did not answer. */
export interface HostInventory {
  /** hosts/<host> */
  readonly host: string;
  readonly answered: boolean;
  readonly workloads: readonly WorkloadManifest[];
  /** Copies of records that belong to no workload. */
  readonly records: readonly KnownRecord[];
}

export type Records = ReadonlyMap<string, KnownRecord>;

export interface Known {
  readonly hosts: readonly HostInventory[];
  /** The newest state of each record now, tombstones included. */
  readonly current: Records;
  /** The newest state of each record in the backup; undefined without one. */
  readonly backup: Records | undefined;
  /** With a backup: what is there now gives way. */
  readonly replace: boolean;
  /** Whether that operation is not over. */
  readonly isUnfinished: (operation: string) => boolean;
  readonly now: Date;
}

/** A record as it is to be. */
export interface PlannedWrite {
  readonly name: string;
  readonly uid: string;
  /** undefined: it goes. */
  readonly body: Json | undefined;
  readonly events: readonly RecordEvent[];
  /** Version of what is there now; 0 for nothing. */
  readonly over: number;
}

export type Action =
  | "restored"
  | "rebuilt"
  | "changed"
  | "quarantined"
  | "lost"
  | "skipped"
  | "removed"
  | "unreachable"
  | "unreadable"
  | "failed";

export interface Finding extends RebuildFinding {
  readonly action: Action;
}

/** What is to be done, in this order, and why. */
export interface Plan {
  readonly writes: readonly Omit<PlannedWrite, "over">[];
  readonly findings: readonly Finding[];
}

/** A plan whose writes know what they go over. */
export interface WholePlan extends Pick<Plan, "findings"> {
  readonly writes: readonly PlannedWrite[];
}

/** A finding with what is left open filled in. */
export function finding(action: Action, name: string, rest: Partial<RebuildFinding> = {}): Finding {
  return { uid: "", host: "", detail: "", ...rest, action, name };
}

export const isLive = (record: KnownRecord | undefined): record is KnownRecord =>
  record !== undefined && !record.deleted;

/** The newest of some states of one record. */
export function newestOf(states: readonly (KnownRecord | undefined)[]): KnownRecord | undefined {
  const known = states.filter((state) => state !== undefined);
  return known.toSorted((a, b) => b.version - a.version)[0];
}

/** The newest state of each record among several sources. */
export function newestOfEach(sources: readonly Iterable<KnownRecord>[]): Map<string, KnownRecord> {
  const newest = new Map<string, KnownRecord>();
  for (const record of sources.flatMap((source) => [...source])) {
    if (record.version > (newest.get(record.name)?.version ?? 0)) newest.set(record.name, record);
  }
  return newest;
}

/** projects/<project>/vms/<vm> or the same of a container, of it and of all that is below it. */
export const workloadOfRecord = (name: string): string | undefined =>
  /^projects\/[^/]+\/(?:vms|containers)\/[^/]+/.exec(name)?.[0];

/** hosts/<host> in the record of a workload; empty for none. */
export const hostOf = ({ host }: Json): string => (typeof host === "string" ? host : "");
