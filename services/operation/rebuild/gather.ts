import type { ListManifestsResponse, WorkloadManifest } from "#contracts/host/v1/agent";
import { isStillpointError } from "#libs/errors";
import type { HostManifests } from "#libs/host-agent";
import type { Log } from "#libs/records";
import { knownRecord, recordsOf } from "./kept.ts";
import { type Finding, finding, type HostInventory, isLive, type KnownRecord, type Records } from "./known.ts";

export interface GatherDeps {
  /** Stream REC. */
  readonly records: Pick<Log, "newest">;
  readonly manifests: Pick<HostManifests, "list">;
  readonly signal: AbortSignal;
}

/** What is there, and what hosts say. */
export interface Gathered {
  readonly hosts: readonly HostInventory[];
  readonly current: Records;
  /** Of any step that a host has let in. */
  readonly highestEpoch: number;
  readonly findings: readonly Finding[];
}

interface Answer extends HostInventory {
  readonly highestEpoch: number;
  readonly unreadable: readonly string[];
}

const AT_ONCE = 16;

/** Asks all hosts that a record names, or that the backup names. `onHost` is told how many have answered or have not. */
export async function gather(
  deps: GatherDeps,
  backup: Records | undefined,
  onHost: (done: number, total: number) => void,
): Promise<Gathered> {
  const before = await readRecords(deps);
  const names = [...hostsIn(before), ...hostsIn(backup ?? new Map())];
  const answers = await askAll(deps, [...new Set(names)].toSorted(), onHost);
  const current = await readRecords(deps);
  return {
    hosts: answers.map((answer) => ({ ...answer, workloads: stillThere(answer.workloads, before, current) })),
    current,
    highestEpoch: Math.max(0, ...answers.map(({ highestEpoch }) => highestEpoch)),
    findings: answers.flatMap(({ host, unreadable }) =>
      unreadable.map((uid) => finding("unreadable", host, { uid, host, detail: "its manifest cannot be read" })),
    ),
  };
}

export async function readRecords({ records }: Pick<GatherDeps, "records">): Promise<Records> {
  const newest = await records.newest("rec.>");
  return new Map(newest.map(knownRecord).map((record) => [record.name, record]));
}

function hostsIn(records: Records): string[] {
  return [...records.values()].filter((record) => isLive(record) && /^hosts\/[^/]+$/.test(record.name)).map(nameOf);
}

const nameOf = ({ name }: KnownRecord): string => name;

/** Without what was deleted while the hosts were asked. */
function stillThere(manifests: readonly WorkloadManifest[], before: Records, now: Records): WorkloadManifest[] {
  return manifests.filter(({ workload }) => {
    const [then, since] = [before, now].map((records) => records.get(workload?.name ?? ""));
    const isGone = then?.uid === workload?.uid && isLive(then) && since?.deleted === true;
    return !isGone;
  });
}

async function askAll(
  deps: GatherDeps,
  hosts: readonly string[],
  onHost: (done: number, total: number) => void,
): Promise<Answer[]> {
  const answers: Answer[] = [];
  const left = [...hosts];
  onHost(0, hosts.length);
  const ask = async () => {
    for (let host = left.shift(); host !== undefined; host = left.shift()) {
      answers.push(await askHost(deps, host));
      onHost(answers.length, hosts.length);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, ask));
  return answers.toSorted((a, b) => (a.host < b.host ? -1 : 1));
}

/** A host that does not say all of what it knows is one that does not answer. */
async function askHost({ manifests, signal }: GatherDeps, host: string): Promise<Answer> {
  const all: ListManifestsResponse[] = [];
  try {
    for await (const one of manifests.list(host, signal)) all.push(one);
  } catch (error) {
    signal.throwIfAborted();
    const isAway = isStillpointError(error, "HOST_UNREACHABLE") || isStillpointError(error, "HOST_NOT_FOUND");
    if (!isAway) throw error;
    return { host, answered: false, workloads: [], records: [], highestEpoch: 0, unreadable: [] };
  }
  const known = all.map((one) => one.known);
  const facts = known.find((one) => one?.$case === "facts")?.value;
  return {
    host,
    answered: true,
    workloads: known.flatMap((one) => (one?.$case === "workload" ? [one.value] : [])),
    records: recordsOf(known.flatMap((one) => (one?.$case === "record" ? [one.value] : []))),
    highestEpoch: facts?.highestEpoch ?? 0,
    unreadable: facts?.unreadable ?? [],
  };
}
