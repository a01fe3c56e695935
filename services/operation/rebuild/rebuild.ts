import type { Redis } from "ioredis";
import {
  type BackupItem,
  RebuildOptions,
  type RebuildRequest,
  type RebuildUpdate,
} from "#contracts/operation/v1/admin";
import type { Clock, Random } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import type { HostManifests } from "#libs/host-agent";
import { forgetLeases } from "#libs/locks";
import { type Operations, restoreOperation } from "#libs/operations";
import type { Streams } from "#libs/records";
import { type Gathered, gather, readRecords } from "./gather.ts";
import { type Finding, type HostInventory, isLive, type PlannedWrite, type Records } from "./known.ts";
import { planRebuild } from "./plan.ts";
import { type ReceivedBackup, receiveBackup } from "./received-backup.ts";
import { PlanWriter } from "./write-plan.ts";

export interface RebuildDeps {
  readonly streams: Pick<Streams, "rec" | "ops">;
  readonly manifests: Pick<HostManifests, "list">;
  readonly redis: Redis;
  readonly operations: Pick<Operations, "feed">;
  readonly clock: Clock;
  readonly random: Random;
}

/** Who asks, and until when. */
export interface Caller {
  readonly principal: string;
  readonly signal: AbortSignal;
}

const TELL_EVERY = 100;

/**
 * Restores and rebuilds: reads the backup where there is one, asks the hosts, decides, and writes. Whatever cuts it off,
 * it may be asked for again: what is written by then is there already.
 */
export async function* rebuild(
  deps: RebuildDeps,
  requests: AsyncIterable<RebuildRequest>,
  caller: Caller,
): AsyncGenerator<RebuildUpdate> {
  const { options, items } = await firstOf(requests);
  await using backup = options.withBackup ? await receiveBackup(itemsOf(items), caller) : undefined;
  if (backup !== undefined && !options.replace) await refuseLive(deps);
  const gathered = yield* asking(deps, backup?.records, caller.signal);
  if (gathered.hosts.length === 0) throw noHosts();
  await refuseOldEpochs(deps, gathered);
  const isUnfinished = (id: string) => deps.operations.feed.unfinished().some(({ record }) => record.id === id);
  const { hosts, current } = gathered;
  const { replace, dryRun } = options;
  const now = deps.clock.now();
  const plan = planRebuild({ hosts, current, backup: backup?.records, replace, isUnfinished, now });
  const findings = [...gathered.findings, ...plan.findings];
  if (!dryRun) {
    findings.push(...(yield* writing(deps, plan.writes, backup)));
    await tell(deps, findings, backup, caller);
  }
  for (const value of findings) yield { update: { $case: "finding", value } };
  yield { update: { $case: "summary", value: { ...summaryOf(findings, backup, hosts), dryRun } } };
}

/** The options come first. */
async function firstOf(requests: AsyncIterable<RebuildRequest>) {
  const iterator = requests[Symbol.asyncIterator]();
  const first = await iterator.next();
  const request = first.done === true ? undefined : first.value.request;
  const options = request?.$case === "options" ? request.value : RebuildOptions.fromPartial({});
  return { options, items: { [Symbol.asyncIterator]: () => iterator } };
}

async function* itemsOf(requests: AsyncIterable<RebuildRequest>): AsyncGenerator<BackupItem> {
  for await (const { request } of requests) {
    if (request?.$case !== "item") throw new StillpointError("ARGUMENT_INVALID", "a backup's item was to come");
    yield request.value;
  }
}

/** Whatever people have made is below a project. */
async function refuseLive({ streams }: RebuildDeps): Promise<void> {
  const records = [...(await readRecords({ records: streams.rec })).values()];
  const workloads = records.filter((record) => isLive(record) && /^projects\/(?!.*\/repositories\/)/.test(record.name));
  if (workloads.length === 0) return;
  const named = workloads.slice(0, 3).map(({ name }) => name);
  throw new StillpointError(
    "INSTALLATION_LIVE",
    `this installation has ${workloads.length} records: ${named.join(", ")}…`,
  );
}

async function* asking(
  { streams, manifests }: RebuildDeps,
  backup: Records | undefined,
  signal: AbortSignal,
): AsyncGenerator<RebuildUpdate, Gathered> {
  yield progress("hosts", 0, 0);
  return await gather({ records: streams.rec, manifests, signal }, backup, () => undefined);
}

function noHosts(): StillpointError {
  return new StillpointError("HOST_NOT_FOUND", "no host has reported yet: nobody knows anything", {
    help: "Agents report every 2 s. Look whether they run and reach NATS, and ask again.",
  });
}

/** Every epoch from now on has to be above all that hosts have seen; see docs/adr/0014-disaster.md. */
async function refuseOldEpochs({ streams }: RebuildDeps, { highestEpoch }: Gathered): Promise<void> {
  const last = await streams.ops.lastSequence();
  if (highestEpoch <= last) return;
  const why = `hosts have seen epoch ${highestEpoch}, and stream OPS stands at ${last}`;
  throw new StillpointError("EPOCHS_BEHIND", `${why}: no operation would get through to them`);
}

async function* writing(
  deps: RebuildDeps,
  writes: readonly PlannedWrite[],
  backup: ReceivedBackup | undefined,
): AsyncGenerator<RebuildUpdate, Finding[]> {
  const failed: Finding[] = [];
  const writer = new PlanWriter({ ...deps, records: deps.streams.rec });
  for (const [index, planned] of writes.entries()) {
    if (index % TELL_EVERY === 0) yield progress("records", index, writes.length);
    const failure = await writer.write(planned);
    if (failure !== undefined) failed.push(failure);
  }
  let restored = 0;
  for await (const data of backup?.operations() ?? []) {
    if (restored % TELL_EVERY === 0) yield progress("operations", restored, backup?.operationCount ?? 0);
    await restoreOperation(deps.streams.ops, deps.clock, data);
    restored++;
  }
  await forgetLeases(deps.redis);
  return failed;
}

/** Leaves a record of it, which is the event that tells of it. */
async function tell(
  deps: RebuildDeps,
  findings: readonly Finding[],
  backup: ReceivedBackup | undefined,
  { principal }: Caller,
) {
  const happened = backup === undefined ? "rebuilt" : "restored";
  const data = {
    by: principal,
    counts: countsOf(findings),
    ...(backup?.time && { backup: backup.time.toISOString() }),
  };
  const uid = deps.random.id("disaster");
  const body = { happened, time: deps.clock.now().toISOString(), ...data };
  const events = [{ aggregate: "installation", happened, data }];
  await new PlanWriter({ ...deps, records: deps.streams.rec }).write({
    name: `installations/${uid}`,
    uid,
    body,
    events,
    over: 0,
  });
}

const notOnHosts = [
  "accounts, rights and quotas of the registry",
  "operations, and events of before",
  "what was set for hosts (cordons, overcommit, reserves)",
  "tokens by which hosts join",
];

function summaryOf(findings: readonly Finding[], backup: ReceivedBackup | undefined, hosts: readonly HostInventory[]) {
  const notRebuilt = backup === undefined ? notOnHosts : ["events of before", "tokens by which hosts join"];
  const hostsAnswered = hosts.filter(({ answered }) => answered).length;
  return { counts: countsOf(findings), notRebuilt, hosts: hosts.length, hostsAnswered };
}

function countsOf(findings: readonly Finding[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { action } of findings) counts[action] = (counts[action] ?? 0) + 1;
  return counts;
}

const progress = (phase: string, done: number, total: number): RebuildUpdate => ({
  update: { $case: "progress", value: { phase, done, total } },
});
