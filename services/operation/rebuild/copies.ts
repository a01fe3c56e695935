import type { WorkloadManifest } from "#contracts/host/v1/agent";
import { recordsOf } from "./kept.ts";
import { type HostInventory, isLive, type Known, type KnownRecord, newestOf } from "./known.ts";

/** A workload's files on one host, and the newest that is known of its record. */
export interface Copy {
  readonly host: string;
  readonly uid: string;
  readonly epoch: number;
  /** Resource name. */
  readonly name: string;
  readonly manifest: WorkloadManifest;
  /** Of this very incarnation; a tombstone when it was deleted. */
  readonly record: KnownRecord | undefined;
  /** All that the host keeps of its records. */
  readonly kept: readonly KnownRecord[];
}

/** Why a copy stands for no record. */
export type Why = "name.taken" | "uid.twice" | "record.deleted";

/** A copy that stands for no record. */
export interface PutAside {
  readonly copy: Copy;
  readonly why: Why;
  readonly detail: string;
}

export interface Sorted {
  /** The copies that stand for their workloads: one for each uid, and for each name. */
  readonly chosen: readonly Copy[];
  readonly quarantined: readonly PutAside[];
}

/** Every copy on every host that answered. Pure. */
export function copiesOf(known: Known): Copy[] {
  return known.hosts.flatMap((host) => host.workloads.map((manifest) => copyOf(known, host, manifest)));
}

/**
 * Decides which copy stands for a workload. What a record names now stays; else the highest epoch by which a step ran
 * on it wins. All others, and what was deleted, are put aside. Pure.
 */
export function sortCopies(known: Known, copies: readonly Copy[]): Sorted {
  const byUid = groups(copies, ({ uid }) => uid).map(oneOfUid);
  const ofUids = byUid.flatMap(({ chosen }) => chosen);
  const byName = groups(ofUids, ({ name }) => name).map((ofName) => oneOfName(known, ofName));
  return {
    chosen: byName.flatMap(({ chosen }) => chosen),
    quarantined: [...byUid, ...byName].flatMap(({ quarantined }) => quarantined),
  };
}

/** Of copies with one uid. */
function oneOfUid(copies: readonly Copy[]): Sorted {
  const [best, ...others] = copies.toSorted(byClaim);
  const detail = `${best?.host} has it too, with epoch ${best?.epoch}`;
  const quarantined = others.map((copy) => ({ copy, why: "uid.twice" as const, detail }));
  if (best?.record?.deleted !== true) return { chosen: best === undefined ? [] : [best], quarantined };
  const gone = { copy: best, why: "record.deleted" as const, detail: "its record says that it was deleted" };
  return { chosen: [], quarantined: [gone, ...quarantined] };
}

/** Of copies with one name. */
function oneOfName({ current, replace }: Known, copies: readonly Copy[]): Sorted {
  const sorted = copies.toSorted(byClaim);
  const record = replace ? undefined : current.get(copies[0]?.name ?? "");
  const winner = isLive(record) ? copies.find(({ uid }) => uid === record.uid) : sorted[0];
  const detail =
    winner === undefined
      ? `${record?.uid} has its name`
      : `${winner.uid} on ${winner.host} has its name, with epoch ${winner.epoch}`;
  const others = sorted.filter((copy) => copy !== winner);
  return {
    chosen: winner === undefined ? [] : [winner],
    quarantined: others.map((copy) => ({ copy, why: "name.taken", detail })),
  };
}

/** Highest epoch first; among equals the one whose record names that host, then the one that runs. */
function byClaim(a: Copy, b: Copy): number {
  const rank = ({ host, record, manifest }: Copy) =>
    (record?.body.host === host ? 2 : 0) + (manifest.workload?.state === "WORKLOAD_STATE_RUNNING" ? 1 : 0);
  return b.epoch - a.epoch || rank(b) - rank(a) || (a.host < b.host ? -1 : 1);
}

function copyOf({ current, backup }: Known, { host }: HostInventory, manifest: WorkloadManifest): Copy {
  const { uid = "", name: told = "", epoch = 0 } = manifest.workload ?? {};
  const kept = recordsOf(manifest.records);
  const isOwn = (record: KnownRecord | undefined) => record?.uid === uid && isWorkloadName(record.name);
  const ofUid = [...kept, ...[current, backup].map((records) => records?.get(told))].filter(isOwn);
  const record = newestOf(ofUid);
  return { host, uid, epoch, name: record?.name ?? told, manifest, record, kept };
}

const isWorkloadName = (name: string): boolean => /^projects\/[^/]+\/(vms|containers)\/[^/]+$/.test(name);

function groups<Item>(items: readonly Item[], keyOf: (item: Item) => string): Item[][] {
  return [...Map.groupBy(items, keyOf).values()];
}
