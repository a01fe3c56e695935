import type { Json } from "#libs/records";
import { workloadBody } from "./bodies.ts";
import { type Copy, copiesOf, type Sorted, sortCopies } from "./copies.ts";
import {
  type Finding,
  finding,
  hostOf,
  isLive,
  type Known,
  type KnownRecord,
  newestOfEach,
  type Plan,
  type WholePlan,
  workloadOfRecord,
} from "./known.ts";
import {
  type HeldThere,
  joined,
  planCopy,
  planLedger,
  planQuarantine,
  planResolved,
  quarantineName,
} from "./plan-workloads.ts";

const nothing: Plan = { writes: [], findings: [] };

/**
 * Which records have to be written so that they say what the hosts have, and what a backup says of the rest. A host's
 * word on what lies there wins over any record; a record over a backup; of copies of a record the newest counts.
 * In the order of the writes a workload comes before what is below it, as what is below none is taken away. Pure.
 */
export function planRebuild(known: Known): WholePlan {
  const { writes, findings } = planAll(known);
  return { writes: writes.map((write) => ({ ...write, over: known.current.get(write.name)?.version ?? 0 })), findings };
}

function planAll(known: Known): Plan {
  const sorted = sortCopies(known, copiesOf(known));
  const away = awayWorkloads(known, sorted);
  const plans = [
    joined(known.hosts.filter(({ answered }) => !answered).map(unreachable)),
    planHosts(known),
    planOthers(known),
    joined(sorted.chosen.map((copy) => planCopy(known, copy))),
    joined(away.map((record) => planAway(known, record))),
    joined(sorted.quarantined.map((aside) => planQuarantine(known, aside))),
    planResolved(known, sorted.quarantined),
  ];
  const plan = joined([...plans, planLedgers(known, sorted, away), planLost(known, sorted)]);
  return known.replace ? joined([plan, planRemovals(known, plan.writes)]) : plan;
}

const unreachable = ({ host }: { readonly host: string }): Plan => ({
  writes: [],
  findings: [
    finding("unreachable", host, { host, detail: "what lies there is not in this: rebuild again when it is back" }),
  ],
});

/** What is below no workload and no host: the newest that a host or the backup has, where nothing is there now. */
function planOthers({ hosts, backup, current, replace }: Known): Plan {
  const fromHosts = hosts.flatMap(({ records }) => records);
  const newest = newestOfEach([fromHosts, backup?.values() ?? []]);
  const wanted = [...newest.values()].filter((record) => isLive(record) && isOther(record.name));
  return joined(
    wanted
      .filter(({ name }) => replace || !isLive(current.get(name)))
      .map((record) => {
        const { name, uid, body } = record;
        const { operation: _over, ...rest } = body;
        const action = backup?.get(name) === record ? "restored" : "rebuilt";
        return { writes: [{ name, uid, body: rest, events: [] }], findings: [finding(action, name, { uid })] };
      }),
  );
}

/** Hosts and replicas say themselves that they are there; tokens to join are used up at an unknown time. */
const isOther = (name: string): boolean =>
  workloadOfRecord(name) === undefined && !/^(hosts|schedulers|installations|join-tokens)\//.test(name);

/** What operators have said of hosts is the only thing of a host that it does not say itself. */
function planHosts({ backup, current }: Known): Plan {
  const known = [...(backup?.values() ?? [])].filter((record) => isLive(record) && /^hosts\/[^/]+$/.test(record.name));
  return joined(known.map((record) => planHost(record, current.get(record.name))));
}

function planHost(record: KnownRecord, now: KnownRecord | undefined): Plan {
  const { name, uid, body } = record;
  if (!isLive(now)) {
    // Neither ready nor down: only who has listened for long enough may say that it is down.
    const unknown = { ...body, state: "HOST_STATE_UNSPECIFIED" };
    return { writes: [{ name, uid, body: unknown, events: [] }], findings: [] };
  }
  const { cordoned = false, cpuOvercommit, reserved } = body;
  const said = {
    cordoned,
    ...(cpuOvercommit !== undefined && { cpuOvercommit }),
    ...(reserved !== undefined && { reserved }),
  };
  const isSame = JSON.stringify(said) === JSON.stringify(pick(now.body, Object.keys(said)));
  if (isSame || now.uid !== uid) return nothing;
  const detail = "what operators have set of it";
  const state = cordoned === true ? { state: "HOST_STATE_CORDONED" } : {};
  return {
    writes: [{ name, uid, body: { ...now.body, ...said, ...state }, events: [] }],
    findings: [finding("restored", name, { uid, host: name, detail })],
  };
}

const pick = (body: Json, keys: readonly string[]): Json =>
  Object.fromEntries(keys.map((key) => [key, body[key] ?? (key === "cordoned" ? false : undefined)]));

/** Workloads of the backup whose host does not answer, and that no other host has. */
function awayWorkloads({ backup, hosts, current, replace }: Known, { chosen, quarantined }: Sorted): KnownRecord[] {
  const names = new Set(chosen.map(({ name }) => name));
  const uids = new Set([...chosen, ...quarantined.map(({ copy }) => copy)].map(({ uid }) => uid));
  const answered = new Set(hosts.filter((host) => host.answered).map(({ host }) => host));
  return workloadsIn(backup).filter(
    ({ name, uid, body }) =>
      !names.has(name) &&
      !uids.has(uid) &&
      (replace || !isLive(current.get(name))) &&
      hostOf(body) !== "" &&
      !answered.has(hostOf(body)),
  );
}

function workloadsIn(records: Known["backup"]): KnownRecord[] {
  return [...(records?.values() ?? [])].filter(
    (record) => isLive(record) && workloadOfRecord(record.name) === record.name,
  );
}

/** It and all below it as the backup has them. */
function planAway({ backup }: Known, record: KnownRecord): Plan {
  const { name, uid } = record;
  const host = hostOf(record.body);
  const detail = `${host} does not answer: this is how it was when the backup was made`;
  const below = [...(backup?.values() ?? [])].filter((one) => isLive(one) && one.name.startsWith(`${name}/`));
  const { operation: _over, ...body } = record.body;
  const own = { name, uid, body: { ...body, stateReason: detail }, events: [] };
  const children = below.map((one) => ({ name: one.name, uid: one.uid, body: one.body, events: [] }));
  return { writes: [own, ...children], findings: [finding("restored", name, { uid, host, detail })] };
}

/** What the backup has and no host that should. */
function planLost(known: Known, { chosen, quarantined }: Sorted): Plan {
  const answered = new Set(known.hosts.filter((host) => host.answered).map(({ host }) => host));
  const there = new Set([...chosen, ...quarantined.map(({ copy }) => copy)].map(({ uid }) => uid));
  const lost = workloadsIn(known.backup).filter(({ uid, body }) => {
    const host = hostOf(body);
    return !there.has(uid) && (host === "" || answered.has(host));
  });
  const findings: Finding[] = lost.map(({ name, uid, body }) =>
    finding("lost", name, { uid, host: hostOf(body), detail: "no host has its files" }),
  );
  const checkpoints = chosen.flatMap((copy) => lostCheckpoints(known, copy));
  return { writes: [], findings: [...findings, ...checkpoints] };
}

function lostCheckpoints({ backup, current }: Known, { name, uid, host, manifest, kept }: Copy): Finding[] {
  const there = new Set(manifest.checkpoints.map((checkpoint) => checkpoint.uid));
  const known = newestOfEach([kept, backup?.values() ?? [], current.values()]);
  const gone = [...known.values()].filter(
    (record) =>
      isLive(record) &&
      record.name.startsWith(`${name}/checkpoints/`) &&
      record.body.workloadUid === uid &&
      !there.has(record.uid),
  );
  return gone.map((record) =>
    finding("lost", record.name, {
      uid: record.uid,
      host,
      detail: `its files are not on its host${pushedTo(record.body)}`,
    }),
  );
}

function pushedTo({ pushed }: Json): string {
  const references = Array.isArray(pushed) ? pushed.map((one: { reference?: string }) => one.reference) : [];
  return references.length === 0 ? "" : `; it was pushed to ${references.join(", ")}`;
}

function planLedgers(known: Known, { chosen, quarantined }: Sorted, away: readonly KnownRecord[]): Plan {
  const held = new Map<string, HeldThere[]>();
  const add = (host: string, one: HeldThere) => held.set(host, [...(held.get(host) ?? []), one]);
  for (const copy of chosen) {
    add(copy.host, { name: copy.name, uid: copy.uid, body: workloadBody(copy, known.now) });
  }
  for (const { copy } of quarantined) {
    const name = quarantineName(copy.host, copy.uid);
    add(copy.host, { name, uid: copy.uid, body: workloadBody(copy, known.now) });
  }
  for (const { name, uid, body } of away) add(hostOf(body), { name, uid, body });
  return joined([...held].map(([host, all]) => planLedger(known, host, all)));
}

/** With replace: what neither the backup nor a host knows goes. Parents first, as what is below goes with them. */
function planRemovals({ current }: Known, writes: Plan["writes"]): Plan {
  const wanted = new Set(writes.map(({ name }) => name));
  const gone = [...current.values()].filter(
    (record) => isLive(record) && /^projects\/(?!.*\/repositories\/)/.test(record.name) && !wanted.has(record.name),
  );
  return {
    writes: gone.map(({ name, uid }) => ({ name, uid, body: undefined, events: [] })),
    findings: gone.map(({ name, uid }) =>
      finding("removed", name, { uid, detail: "neither the backup nor a host has it" }),
    ),
  };
}
