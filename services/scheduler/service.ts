import { ContainersDefinition } from "#contracts/container/v1/container";
import { OperationsDefinition } from "#contracts/operation/v1/operation";
import { Host, HostsDefinition, Ledger, SchedulerDefinition } from "#contracts/scheduler/v1/scheduler";
import { VmsDefinition } from "#contracts/vm/v1/vm";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { isStillpointError } from "#libs/errors";
import type { Lifecycle } from "#libs/lifecycle";
import { connectRedis } from "#libs/locks";
import { createLogger, type Logger } from "#libs/logger";
import { parseOperationName } from "#libs/names";
import { type Operations, openOperations, startRunner, succeeded } from "#libs/operations";
import { connectNats, createRecordStore, type Log, natsHealth, openStreams, RecordView, rawCodec } from "#libs/records";
import { createRpcClient, RpcServer } from "#libs/rpc";
import type { SchedulerConfig } from "./config.ts";
import { drainJob } from "./drain/drain-job.ts";
import type { RestDeps } from "./drain/workload-rest.ts";
import { schedulerHandlers } from "./handlers.ts";
import type { HostRecords } from "./hosts/host-records.ts";
import { HostRegistry } from "./hosts/host-registry.ts";
import { hostsHandlers } from "./hosts/hosts-handlers.ts";
import { startJoining } from "./join/start-joining.ts";
import { followHeartbeats } from "./nats-heartbeats.ts";
import { HeartbeatAnswers } from "./owners/heartbeat-answers.ts";
import { openMembership } from "./owners/start-membership.ts";
import { Placements } from "./placements.ts";
import { reconcile } from "./reconciler.ts";
import { repeat } from "./repeat.ts";

const sweepEveryMs = 250;

/** Wires the service together. With `server`, the APIs are added there and `address` is empty. */
export async function startScheduler(
  config: SchedulerConfig,
  lifecycle: Lifecycle,
  { server }: { server?: RpcServer } = {},
): Promise<{ address: string }> {
  const logger = createLogger({ name: "scheduler", level: config.LOG_LEVEL });
  const { signal } = lifecycle;
  const nats = await connectNats(config, lifecycle);
  const streams = await openStreams(nats);
  const { rec: log } = streams;
  const redis = await connectRedis(config, lifecycle);
  const operations = await openOperations({ nats, redis, streams, logger, signal });
  const { records, store, ledgers } = await openHosts(log, signal);
  const knowsHostsAt = (version: number) => records.hosts.waitFor(version);
  const { membership: ownership, join } = await openMembership(config, lifecycle, { log, logger, knowsHostsAt });
  const limits = limitsOf(config);
  const registry = new HostRegistry({ store, records, ownership, clock, logger, limits });
  const placements = new Placements({ records, ledgers });

  const answers = new HeartbeatAnswers({ registry, ownership, leaseMs: limits.leaseMs });
  const heartbeats = followHeartbeats(nats, logger, {
    notice: (host) => registry.notice(host),
    answer: (heartbeat) => answers.answer(heartbeat),
  });
  lifecycle.add("heartbeats", heartbeats, (it) => it.close());
  const giveBack = await reconciler(config, lifecycle, { log, records, placements, logger });
  const loops = Promise.all([
    repeat({ clock, logger, signal }, sweepEveryMs, () => registry.sweep()),
    repeat({ clock, logger, signal }, config.RECONCILE_SECONDS * 1_000, giveBack),
  ]);
  lifecycle.add("scheduler loops", { loops }, async (it) => void (await it.loops));

  const drain = drainJob({ records, store, ...restDeps(config, lifecycle, operations) });
  const runner = startRunner(operations, { jobs: [drain], ttlMs: config.OPERATION_TTL_MS });
  lifecycle.add("host runner", runner, (it) => it.close());

  const joining = await startJoining(config, lifecycle, { log, hosts: store, logger });
  const own = server ?? lifecycle.add("grpc", new RpcServer({ logger, health: natsHealth(nats) }), (it) => it.close());
  own.add(SchedulerDefinition, schedulerHandlers(placements));
  const hosts = { records, store, ledgers, registry, operations, limits, ownership, joining };
  own.add(HostsDefinition, hostsHandlers(hosts));
  const address = server === undefined ? await own.listen(config.SCHEDULER_ADDRESS) : "";
  await join(server === undefined ? address : config.STILLPOINT_ADDRESS);
  return { address };
}

/** What is recorded of hosts: in memory, and to be written. */
async function openHosts(log: Log, signal: AbortSignal) {
  const records: HostRecords = {
    hosts: await RecordView.start({ log, filter: "rec.hosts.*", codec: Host, signal }),
    ledgers: await RecordView.start({ log, filter: "rec.hosts.*.ledger", codec: Ledger, signal }),
  };
  const store = createRecordStore({ log, codec: Host, clock, random });
  const ledgers = createRecordStore({ log, codec: Ledger, clock, random });
  return { records, store, ledgers };
}

/** What a drain asks of the services that own the workloads. */
function restDeps(config: SchedulerConfig, lifecycle: Lifecycle, operations: Operations): RestDeps {
  const vms = createRpcClient(VmsDefinition, config.VM_ADDRESS ?? config.STILLPOINT_ADDRESS);
  const containers = createRpcClient(ContainersDefinition, config.CONTAINER_ADDRESS ?? config.STILLPOINT_ADDRESS);
  return {
    vms: lifecycle.add("vms client", vms, (it) => it.close()),
    containers: lifecycle.add("containers client", containers, (it) => it.close()),
    succeeded: (operation, signal) => succeeded(operations, operation, signal),
    async ended(operation, signal) {
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

async function reconciler(
  config: SchedulerConfig,
  lifecycle: Lifecycle,
  { log, ...parts }: { log: Log; records: HostRecords; placements: Placements; logger: Logger },
): Promise<() => Promise<number>> {
  const operations = createRpcClient(OperationsDefinition, config.STILLPOINT_ADDRESS);
  lifecycle.add("client of Operations", operations, (it) => it.close());
  const { signal } = lifecycle;
  const workloads = await RecordView.start({ log, filter: "rec.projects.*.*.*", codec: rawCodec, signal });
  const store = createRecordStore({ log, codec: rawCodec, clock, random });

  const isUnfinished = async (name: string): Promise<boolean> => {
    try {
      return !(await operations.getOperation({ name })).done;
    } catch (error) {
      if (isStillpointError(error, "OPERATION_NOT_FOUND")) return false;
      throw error;
    }
  };
  return () => reconcile({ ...parts, isUnfinished, workloads, readWorkload: (name) => store.get(name) });
}
