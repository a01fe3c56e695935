import { ContainersDefinition } from "#contracts/container/v1/container";
import { type Operation, OperationsDefinition } from "#contracts/operation/v1/operation";
import { HostsDefinition, SchedulerDefinition } from "#contracts/scheduler/v1/scheduler";
import { VmsDefinition } from "#contracts/vm/v1/vm";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { isStillpointError } from "#libs/errors";
import type { Lifecycle } from "#libs/lifecycle";
import { connectRedis } from "#libs/locks";
import { createLogger, type Logger } from "#libs/logger";
import { parseOperationName } from "#libs/names";
import { type Operations, openOperations, startRunner, succeeded } from "#libs/operations";
import { connectNats, createRecordStore, deletedUid, type Log, natsHealth, openStreams, rawCodec } from "#libs/records";
import { createRpcClient, RpcServer } from "#libs/rpc";
import { type AccessDeps, startAccess } from "./access/nats-access.ts";
import type { SchedulerConfig } from "./config.ts";
import { drainJob } from "./drain/drain-job.ts";
import { schedulerHandlers } from "./handlers.ts";
import { HostRegistry } from "./hosts/host-registry.ts";
import { hostsHandlers } from "./hosts/hosts-handlers.ts";
import { openHostRecords } from "./hosts/open-host-records.ts";
import { type JoiningDeps, startJoining } from "./join/start-joining.ts";
import { followHeartbeats } from "./nats-heartbeats.ts";
import { Forwarding } from "./owners/forwarding.ts";
import { HeartbeatAnswers } from "./owners/heartbeat-answers.ts";
import { owns } from "./owners/ownership.ts";
import { openMembership } from "./owners/start-membership.ts";
import { openPlacements } from "./placement/open-placements.ts";
import type { OtherReplicasDeps } from "./placement/other-replicas.ts";
import { Reconciler, type ReconcilerDeps } from "./placement/reconciler.ts";
import { Recoveries, type RecoveriesDeps } from "./recovery/recoveries.ts";
import { Stranded } from "./recovery/stranded.ts";
import { repeat } from "./repeat.ts";

const sweepEveryMs = 250;
const recoverEveryMs = 500;
/** Channels to replicas that are gone are given up so often. */
const forwardEveryMs = 10_000;

/** Its operations are of these services. */
const services = ["host"];

/** Wires the service together. With `server`, the APIs are added there and `address` is empty. */
export async function startScheduler(
  config: SchedulerConfig,
  lifecycle: Lifecycle,
  { server }: { server?: RpcServer } = {},
): Promise<{ address: string }> {
  const logger = createLogger({ name: "scheduler", level: config.LOG_LEVEL });
  const nats = await connectNats(config, lifecycle);
  const streams = await openStreams(nats);
  const { rec: log } = streams;
  const redis = await connectRedis(config, lifecycle);
  const operations = await openOperations({ nats, redis, streams, logger, signal: lifecycle.signal, services });
  const { records, free, store, ledgers, identities } = await openHostRecords(log, lifecycle.signal);
  const knowsHostsAt = (version: number) => records.hosts.waitFor(version);
  const { membership: ownership, join } = await openMembership(config, lifecycle, { log, logger, knowsHostsAt });
  const limits = limitsOf(config);
  const registry = new HostRegistry({ store, identities, records, ownership, clock, logger, limits });
  const forwarding = lifecycle.add("forwarding", new Forwarding(), (it) => it.close());
  const ask: OtherReplicasDeps["ask"] = (replica, wishes) => forwarding.placeBatch(replica, wishes);
  const placements = openPlacements({ log, records, free, ledgers, membership: ownership, ask, clock });

  const readWorkload = readsWorkloads(log);
  const words = { readWorkload, ...wordsFrom(log, operations) };
  const answers = new HeartbeatAnswers({ registry, ownership, leaseMs: limits.leaseMs, ...words });
  lifecycle.add("heartbeats", followHeartbeats(nats, logger, answers), (it) => it.close());
  const rest = restDeps(config, lifecycle, operations);
  const seen = {
    ...{ readWorkload, records, placements, clock, logger },
    owns: (host: string) => owns(ownership, host),
    mustWait: () => registry.isMarkingMany,
  };
  repeatAll(lifecycle, logger, [
    [sweepEveryMs, () => registry.sweep()],
    ...lookingAfter(config, lifecycle, { ...rest, ...seen, operations }),
    [forwardEveryMs, async () => forwarding.keep(ownership.addresses())],
  ]);

  const drain = drainJob({ records, store, ledgers, ...rest });
  const runner = startRunner(operations, { jobs: [drain], ttlMs: config.OPERATION_TTL_MS });
  lifecycle.add("host runner", runner, (it) => it.close());

  const entrance = await startEntrance(config, lifecycle, { log, nats, hosts: store, identities, logger });
  const own = server ?? lifecycle.add("grpc", new RpcServer({ logger, health: natsHealth(nats) }), (it) => it.close());
  own.add(SchedulerDefinition, schedulerHandlers(placements));
  const recorded = { records, store, ledgers, identities };
  const hosts = { ...recorded, ...rest, registry, operations, limits, ownership, ...entrance, clock, random };
  own.add(HostsDefinition, hostsHandlers(hosts));
  const address = server === undefined ? await own.listen(config.SCHEDULER_ADDRESS) : "";
  await join(server === undefined ? address : config.STILLPOINT_ADDRESS);
  return { address };
}

/** How hosts come in, and are kept out. */
async function startEntrance(config: SchedulerConfig, lifecycle: Lifecycle, deps: JoiningDeps & AccessDeps) {
  const { cutOff } = await startAccess(config, lifecycle, deps);
  return { cutOff, joining: await startJoining(config, lifecycle, deps) };
}

/** What decides over workloads that a host has paused, beside their records. */
const wordsFrom = (log: Log, operations: Pick<Operations, "get">) => ({
  readDeleted: (name: string) => deletedUid(log, name),
  readOperation: (id: string) => operations.get(id),
});

/** From the leader. */
function readsWorkloads(log: Log) {
  const workloads = createRecordStore({ log, codec: rawCodec, clock, random });
  return (name: string) => workloads.get(name);
}

type Work = readonly [everyMs: number, work: () => Promise<unknown>];

/** What is done about the workloads on this replica's hosts, and their places. */
function lookingAfter(
  config: SchedulerConfig,
  lifecycle: Lifecycle,
  parts: RecoveriesDeps & Pick<ReconcilerDeps, "placements">,
): Work[] {
  const recoveries = new Recoveries(parts);
  const stranded = new Stranded(parts);
  const unrecovered: ReconcilerDeps["unrecovered"] = (suspect) => stranded.suspect(suspect);
  const reconciler = openReconciler(config, lifecycle, { ...parts, unrecovered });
  return [
    [config.RECONCILE_SECONDS * 1_000, () => reconciler.round()],
    [recoverEveryMs, () => recoveries.tick()],
    [recoverEveryMs, () => stranded.tick()],
  ];
}

/** Until the lifecycle ends. */
function repeatAll(lifecycle: Lifecycle, logger: Logger, works: readonly Work[]): void {
  const { signal } = lifecycle;
  const loops = Promise.all(works.map(([everyMs, work]) => repeat({ clock, logger, signal }, everyMs, work)));
  lifecycle.add("scheduler loops", { loops }, async (it) => void (await it.loops));
}

/** What a drain, and a recovery, asks of the services that own the workloads. */
function restDeps(config: SchedulerConfig, lifecycle: Lifecycle, operations: Operations) {
  const vms = createRpcClient(VmsDefinition, config.VM_ADDRESS ?? config.STILLPOINT_ADDRESS);
  const containers = createRpcClient(ContainersDefinition, config.CONTAINER_ADDRESS ?? config.STILLPOINT_ADDRESS);
  return {
    vms: lifecycle.add("vms client", vms, (it) => it.close()),
    containers: lifecycle.add("containers client", containers, (it) => it.close()),
    succeeded: (operation: Operation, signal: AbortSignal) => succeeded(operations, operation, signal),
    async ended(operation: string, signal: AbortSignal) {
      for await (const _ of operations.watch(parseOperationName(operation), signal));
    },
  };
}

const limitsOf = (config: SchedulerConfig) => ({
  cpuOvercommit: config.CPU_OVERCOMMIT,
  memoryReservedBytes: config.HOST_MEMORY_RESERVED_MIB * 2 ** 20,
  downAfterMs: config.HOST_DOWN_AFTER_SECONDS * 1_000,
  // A host that is down has been without its lease for a third of the time.
  leaseMs: Math.floor((config.HOST_DOWN_AFTER_SECONDS * 1_000 * 2) / 3),
  takeoverMs: config.SCHEDULER_TTL_MS,
});

function openReconciler(
  config: SchedulerConfig,
  lifecycle: Lifecycle,
  parts: Omit<ReconcilerDeps, "isUnfinished">,
): Reconciler {
  const operations = createRpcClient(OperationsDefinition, config.STILLPOINT_ADDRESS);
  lifecycle.add("client of Operations", operations, (it) => it.close());
  const isUnfinished = async (name: string): Promise<boolean> => {
    try {
      return !(await operations.getOperation({ name })).done;
    } catch (error) {
      if (isStillpointError(error, "OPERATION_NOT_FOUND")) return false;
      throw error;
    }
  };
  return new Reconciler({ ...parts, isUnfinished });
}
