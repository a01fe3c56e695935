import { ContainerSpec } from "#contracts/container/v1/container";
import { Quarantined } from "#contracts/operation/v1/admin";
import { type Ledger, Ledger as LedgerCodec, type Reservation } from "#contracts/scheduler/v1/scheduler";
import { VmSpec } from "#contracts/vm/v1/vm";
import { checkpointName, headName, ledgerName } from "#libs/names";
import type { Json } from "#libs/records";
import { containerRequirements, vmRequirements } from "#libs/workloads";
import { checkpointBody, headBody, withWhatIs, workloadBody } from "./bodies.ts";
import type { Copy, PutAside } from "./copies.ts";
import { finding, hostOf, isLive, type Known, type KnownRecord, newestOf, type Plan } from "./known.ts";

const nothing: Plan = { writes: [], findings: [] };

/** A workload and all below it, from the copy that stands for it. Pure. */
export function planCopy(known: Known, copy: Copy): Plan {
  const { name, uid, host } = copy;
  const live = liveNow(known, name);
  if (live?.operation !== undefined && known.isUnfinished(live.operation)) {
    return { writes: [], findings: [finding("skipped", name, { uid, host, detail: "an operation holds it" })] };
  }
  if (live !== undefined && isElsewhere(known, live, host)) {
    const detail = `its record names ${hostOf(live.body)}, which does not answer`;
    return { writes: [], findings: [finding("skipped", name, { uid, host, detail })] };
  }
  const own = live === undefined ? newWorkload(known, copy) : changedWorkload(copy, live);
  return joined([own, planCheckpoints(known, copy), planHead(known, copy)]);
}

/** What its record names may be the one that runs. */
function isElsewhere({ hosts }: Known, { body }: KnownRecord, host: string): boolean {
  return body.host !== host && hosts.some((one) => one.host === body.host && !one.answered);
}

function newWorkload(known: Known, copy: Copy): Plan {
  const { name, uid, host, record, manifest } = copy;
  const isFromBackup = record !== undefined && known.backup?.get(name) === record;
  const action = isFromBackup ? "restored" : "rebuilt";
  const detail = record === undefined ? "labels, checkpoint type and other settings are not known any more" : "";
  const event = { aggregate: aggregateOf(uid), happened: action, data: { uid, host, epoch: copy.epoch, detail } };
  const unread = manifest.checkpoints.length;
  const write = { name, uid, body: workloadBody(copy, known.now), events: [event] };
  const told = [detail, unread > 0 ? `${unread} ${unread === 1 ? "checkpoint" : "checkpoints"}` : ""].filter(Boolean);
  return { writes: [write], findings: [finding(action, name, { uid, host, detail: told.join("; ") })] };
}

/** Where a record is there already only what its host says counts: on which it is, and how it is there. */
function changedWorkload(copy: Copy, live: KnownRecord): Plan {
  const { name, uid, host } = copy;
  const body = withWhatIs(copy, live.body);
  if (body.host === live.body.host && body.state === live.body.state) return nothing;
  const detail = `${String(live.body.state)} on ${hostOf(live.body)} became ${String(body.state)} on ${host}`;
  const event = { aggregate: aggregateOf(uid), happened: "changed", data: { uid, host, detail } };
  return {
    writes: [{ name, uid, body, events: [event] }],
    findings: [finding("changed", name, { uid, host, detail })],
  };
}

function planCheckpoints(known: Known, copy: Copy): Plan {
  const { host, manifest, kept } = copy;
  return joined(
    manifest.checkpoints.map((checkpoint) => {
      const { uid } = checkpoint;
      const name = checkpointName(copy.name, uid);
      if (isLive(liveNow(known, name))) return nothing;
      const record = newestOf([known.backup?.get(name), kept.find((one) => one.name === name)].filter(isLive));
      const body = checkpointBody(copy, checkpoint, record?.body);
      const detail = record === undefined ? "its receipt is lost: what it reached is not known" : "";
      const findings = record === undefined ? [finding("rebuilt", name, { uid, host, detail })] : [];
      return { writes: [{ name, uid, body, events: [] }], findings };
    }),
  );
}

function planHead(known: Known, copy: Copy): Plan {
  const name = headName(copy.name);
  const live = liveNow(known, name);
  const body = headBody(copy);
  const isSame = live?.uid === copy.uid && live.body.parent === body.parent;
  const isEmpty = live === undefined && copy.manifest.checkpoints.length === 0;
  return isSame || isEmpty ? nothing : { writes: [{ name, uid: copy.uid, body, events: [] }], findings: [] };
}

/** What stands for no record: told in a record of its own, and left alone. Pure. */
export function planQuarantine(known: Known, { copy, why, detail }: PutAside): Plan {
  const { host, uid, name: workload, epoch } = copy;
  const name = quarantineName(host, uid);
  const event = { aggregate: aggregateOf(uid), happened: "quarantined", data: { uid, host, workload, why, detail } };
  const body = Quarantined.toJSON(
    Quarantined.fromPartial({ name, uid, host, workload, epoch, reason: why, detail, time: known.now }),
  ) as Json;
  const findings = [finding("quarantined", workload, { uid, host, detail: `${why}: ${detail}` })];
  return { writes: isLive(known.current.get(name)) ? [] : [{ name, uid, body, events: [event] }], findings };
}

/** What was put aside before, on a host that answers, and is no more: its conflict is over, or its files are gone. Pure. */
export function planResolved({ current, hosts }: Known, aside: readonly PutAside[]): Plan {
  const names = new Set(aside.map(({ copy }) => quarantineName(copy.host, copy.uid)));
  const answered = hosts.filter((one) => one.answered).map(({ host }) => `${host}/quarantine/`);
  const over = [...current.values()].filter(
    (record) => isLive(record) && answered.some((prefix) => record.name.startsWith(prefix)) && !names.has(record.name),
  );
  return {
    writes: over.map(({ name, uid }) => ({ name, uid, body: undefined, events: [] })),
    findings: over.map(({ name, uid }) => finding("removed", name, { uid, detail: "its conflict is over" })),
  };
}

export const quarantineName = (host: string, uid: string): string => `${host}/quarantine/${uid}`;

/** What is taken on a host: what its ledger has, and all that lies there without a place in it. Pure. */
export function planLedger(known: Known, host: string, held: readonly HeldThere[]): Plan {
  const name = ledgerName(host);
  const live = known.current.get(name);
  const ledger: Ledger = isLive(live) ? LedgerCodec.fromJSON(live.body) : LedgerCodec.fromPartial({ name });
  const names = new Map(held.map((one) => [one.uid, one.name]));
  const kept = ledger.reservations.filter(({ uid, workload }) => (names.get(uid) ?? workload) === workload);
  const taken = new Set(kept.map(({ uid }) => uid));
  const missing = held.filter(({ uid }) => !taken.has(uid)).map(reservationOf);
  if (missing.length === 0) return nothing;
  const body = LedgerCodec.toJSON({ ...ledger, reservations: [...kept, ...missing] }) as Json;
  const uid = (isLive(live) ? live : known.current.get(host))?.uid ?? "";
  return { writes: [{ name, uid, body, events: [] }], findings: [] };
}

/** Something that lies on a host: the name of the record that says so, and what it takes. */
export interface HeldThere {
  readonly name: string;
  readonly uid: string;
  readonly body: Json;
}

function reservationOf({ name, uid, body }: HeldThere): Reservation {
  const needs =
    aggregateOf(uid) === "vm"
      ? { ...vmRequirements(VmSpec.fromJSON(body.spec ?? {})), cpuMillis: 0 }
      : { ...containerRequirements(ContainerSpec.fromJSON(body.spec ?? {})), cpus: 0, diskBytes: 0 };
  return { uid, workload: name, operation: "", epoch: 0, requirements: { ...needs, notHost: "", notHosts: [] } };
}

export function joined(plans: readonly Plan[]): Plan {
  return { writes: plans.flatMap(({ writes }) => writes), findings: plans.flatMap(({ findings }) => findings) };
}

/** The record that stands now and is left as it is. */
function liveNow({ current, replace }: Known, name: string): KnownRecord | undefined {
  const record = replace ? undefined : current.get(name);
  return isLive(record) ? record : undefined;
}

const aggregateOf = (uid: string): "vm" | "container" => (uid.startsWith("ctr-") ? "container" : "vm");
