import { Heartbeat, HeartbeatAck } from "#contracts/host/v1/agent";
import { type PlaceResponse, SchedulerReplica } from "#contracts/scheduler/v1/scheduler";
import type { RecoverVmRequest } from "#contracts/vm/v1/vm";
import type { Leases } from "#libs/locks";
import { silentLogger as logger } from "#libs/logger";
import { type JobQueue, type JobState, Operations, startRunner } from "#libs/operations";
import { createRecordStore, deletedUid, type Log, RecordView, rawCodec } from "#libs/records";
import type { Reservation } from "../../../services/scheduler/domain/host.ts";
import type { Release } from "../../../services/scheduler/domain/ledger.ts";
import { HostRegistry } from "../../../services/scheduler/hosts/host-registry.ts";
import { type OpenHostRecords, openHostRecords } from "../../../services/scheduler/hosts/open-host-records.ts";
import { HeartbeatAnswers } from "../../../services/scheduler/owners/heartbeat-answers.ts";
import { Membership } from "../../../services/scheduler/owners/membership.ts";
import { owns } from "../../../services/scheduler/owners/ownership.ts";
import { openPlacements } from "../../../services/scheduler/placement/open-placements.ts";
import { toResult } from "../../../services/scheduler/placement/other-replicas.ts";
import type { Placements } from "../../../services/scheduler/placement/placements.ts";
import { Reconciler } from "../../../services/scheduler/placement/reconciler.ts";
import type { Recoverers } from "../../../services/scheduler/recovery/ask-recovery.ts";
import { Recoveries } from "../../../services/scheduler/recovery/recoveries.ts";
import { Stranded } from "../../../services/scheduler/recovery/stranded.ts";
import { repeat } from "../../../services/scheduler/repeat.ts";
import { vmKind } from "../../../services/vm/vm-kind.ts";
import type { SimRandom } from "../sim-clock.ts";
import type { SimProcess } from "../sim-process.ts";
import type { ClusterHistory } from "./cluster-history.ts";
import { mutatedAck, mutatedLog, mutatedOwnership, mutatedRegistry } from "./mutated.ts";
import type { Mutations } from "./mutations.ts";
import type { SimNet } from "./sim-net.ts";
import { acceptRecover, type VmGateway, type VmWorld, vmJobsOf } from "./sim-vms.ts";

export interface ReplicaWorld extends Omit<VmWorld, "place" | "release" | "uidOf"> {
  readonly random: SimRandom;
  readonly history: ClusterHistory;
  readonly net: SimNet;
  readonly mutations: Mutations;
  readonly ops: Log;
  readonly records: Log;
  readonly jobs: JobQueue;
  readonly jobState: JobState;
  readonly leases: Leases;
  replica(address: string): SimReplica | undefined;
  someReplica(): SimReplica | undefined;
}

export interface SimReplica extends VmGateway {
  readonly address: string;
  readonly placements: Placements;
  readonly membership: Membership;
  hear(heartbeat: string, answer: (ack: HeartbeatAck) => void): void;
}

/** The defaults of the scheduler's configuration. */
const ttlMs = 6_000;
const downAfterMs = 9_000;
const leaseMs = 6_000;
const CALL_MS = 2_000;

/** One process of the control plane: the scheduler's real parts, wired as `startScheduler` wires them, and the jobs of VMs. */
export async function startReplica(world: ReplicaWorld, process: SimProcess, address: string): Promise<SimReplica> {
  const { random, mutations, history } = world;
  const { signal, clock } = process;
  const log = mutatedLog(process.log(world.records), mutations);
  const operations = await startOperations(world, process, log);
  const open = await openHostRecords(log, signal, { clock, random });
  const membership = await membershipOf(world, { process, log, open }, address);
  const parts: OwnerParts = { world, process, log, membership, operations };
  const { placements, registry, answers, reconciler, recoveries, stranded } = ownerParts(parts, open, address);
  const vms = {
    ...{ random, net: world.net, host: (name: string) => world.host(name), mutations },
    uidOf: (name: string) => history.uidOf(name),
    place: (wanted: Reservation) => placeSomewhere(world, address, wanted),
    release: async (given: Release, host: string | undefined) => {
      history.ledgers.releasing(given.uid);
      await withSome(world, address, (replica) => replica.placements.release(given, host));
    },
  };
  startRunner(operations, {
    jobs: vmJobsOf(vms, process, log, address),
    ...{ ttlMs: 2_000, concurrency: 8, worker: `${address}-${random.id("worker")}` },
  });
  void repeat({ clock, logger, signal }, ttlMs / 3, () => membership.tick());
  void repeat({ clock, logger, signal }, 250, () => registry.sweep());
  void repeat({ clock, logger, signal }, 5_000, () => reconciler.round());
  void repeat({ clock, logger, signal }, 500, () => recoveries.tick());
  void repeat({ clock, logger, signal }, 500, () => stranded.tick());
  await membership.tick().catch(() => undefined);
  const hear = (heartbeat: string, answer: (ack: HeartbeatAck) => void) => {
    void hearOne(process, answers, heartbeat, (ack) => answer(mutatedAck(ack, mutations)));
  };
  const vmRecords = createRecordStore({ log, codec: vmKind.codec, clock, random });
  return {
    address,
    process,
    operations,
    records: vmRecords,
    hosts: open.store,
    mutations,
    placements,
    membership,
    hear,
  };
}

interface MembershipParts {
  readonly process: SimProcess;
  readonly log: Log;
  readonly open: OpenHostRecords;
}

async function membershipOf({ random }: ReplicaWorld, parts: MembershipParts, address: string): Promise<Membership> {
  const { process, log, open } = parts;
  const { signal, clock } = process;
  const view = await RecordView.start({ log, filter: "rec.schedulers.*", codec: SchedulerReplica, signal, clock });
  return new Membership({
    store: createRecordStore({ log, codec: SchedulerReplica, clock, random, patienceMs: ttlMs }),
    view,
    knowsHostsAt: (version) => open.records.hosts.waitFor(version),
    ...{ clock, random, logger, ttlMs, signal, address: () => address },
  });
}

interface OwnerParts {
  readonly world: ReplicaWorld;
  readonly process: SimProcess;
  readonly log: Log;
  readonly membership: Membership;
  readonly operations: Operations;
}

/** What an owner of hosts does, as `startScheduler` wires it. */
function ownerParts(
  { world, process, log, membership, operations }: OwnerParts,
  open: OpenHostRecords,
  address: string,
) {
  const { random, mutations } = world;
  const { clock } = process;
  const { records, free, store, ledgers, identities } = open;
  const limits = {
    ...{ cpuOvercommit: mutations.overcommit ?? 1, memoryReservedBytes: 0, takeoverMs: ttlMs },
    downAfterMs: mutations.downAfterMs ?? downAfterMs,
  };
  const ownership = mutatedOwnership(membership, mutations);
  const registry = new HostRegistry({ store, identities, records, ownership, clock, logger, limits });
  const placements = openPlacements({
    ...{ log, records, free, ledgers, membership, clock },
    ask: (replica, wishes) => askOther(world, address, replica.address, wishes),
  });
  const workloads = createRecordStore({ log, codec: rawCodec, clock, random });
  const readWorkload = (name: string) => workloads.get(name);
  const words = {
    readWorkload,
    readDeleted: (name: string) => deletedUid(log, name),
    readOperation: async (id: string) => (mutations.unseenRecoveries === true ? undefined : await operations.get(id)),
  };
  const heard = mutatedRegistry(registry, membership, mutations);
  const answers = new HeartbeatAnswers({ registry: heard, ownership: membership, leaseMs, ...words });
  const seen = { readWorkload, records, owns: (host: string) => owns(membership, host), clock, logger };
  const recoverers: Recoverers = {
    vms: { recoverVm: (asked) => recoverSomewhere(world, address, asked) },
    containers: { recoverContainer: () => Promise.reject(new Error("there are no containers here")) },
  };
  const recoveries = new Recoveries({ ...seen, ...recoverers, operations, mustWait: () => registry.isMarkingMany });
  const stranded = new Stranded({ ...seen, ...recoverers });
  const reconciler = new Reconciler({
    ...{ ...seen, placements },
    isUnfinished: async (name) => (await operations.get(name.slice("operations/".length)))?.done === false,
    unrecovered: (suspect) => stranded.suspect(suspect),
  });
  return { placements, registry, answers, reconciler, recoveries, stranded };
}

/** As followHeartbeats does it. */
async function hearOne(
  process: SimProcess,
  answers: HeartbeatAnswers,
  json: string,
  answer: (ack: HeartbeatAck) => void,
): Promise<void> {
  await process.awake();
  const heartbeat = Heartbeat.fromJSON(JSON.parse(json));
  if (!answers.notice(heartbeat.host)) return;
  const ack = await answers.answer(heartbeat).catch(() => undefined);
  if (ack === undefined) return;
  await process.port(async () => answer(HeartbeatAck.fromJSON(HeartbeatAck.toJSON(ack))));
}

async function startOperations(world: ReplicaWorld, process: SimProcess, records: Log): Promise<Operations> {
  const { signal, clock } = process;
  return await Operations.start({
    ...{ ops: process.log(world.ops), records, logger, clock, random: world.random, signal },
    jobs: process.jobs(world.jobs),
    jobState: process.jobState(world.jobState),
    leases: process.leases(world.leases),
  });
}

async function askOther(world: ReplicaWorld, from: string, to: string, wishes: readonly Reservation[]) {
  const work = async () => {
    const other = world.replica(to);
    if (other === undefined) return await new Promise<never>(() => undefined);
    return (await served(other, ({ placements }) => placements.placeHere(wishes))).map(toResult);
  };
  return await world.net.call(from, to, CALL_MS, work);
}

async function placeSomewhere(world: ReplicaWorld, from: string, wanted: Reservation): Promise<PlaceResponse> {
  const placed = await withSome(world, from, (replica) => replica.placements.place(wanted));
  world.history.ledgers.placed({ uid: wanted.uid, operation: wanted.operation, host: placed.host });
  return placed;
}

async function recoverSomewhere(world: ReplicaWorld, from: string, asked: Partial<RecoverVmRequest>) {
  const { name = "", host = "", requestId = "" } = asked;
  return await withSome(world, from, (replica) => acceptRecover(replica, { name, host, requestId }));
}

async function withSome<Answer>(
  world: ReplicaWorld,
  from: string,
  work: (replica: SimReplica) => Promise<Answer>,
): Promise<Answer> {
  const replica = world.someReplica();
  const address = replica?.address ?? "nobody";
  return await world.net.call(from, address, 3 * CALL_MS, async () => {
    if (replica === undefined) return await new Promise<never>(() => undefined);
    return await served(replica, work);
  });
}

/** One that sleeps answers later, one that has died never. */
async function served<Answer>(replica: SimReplica, work: (replica: SimReplica) => Promise<Answer>): Promise<Answer> {
  await replica.process.awake();
  return await replica.process.port(() => work(replica));
}
