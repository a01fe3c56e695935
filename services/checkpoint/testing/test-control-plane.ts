import { jetstream } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import {
  Checkpoint,
  type CheckpointsClient,
  CheckpointsDefinition,
  Head,
  RecoveryState,
} from "#contracts/checkpoint/v1/checkpoint";
import { GroupsDefinition } from "#contracts/checkpoint/v1/group";
import { ProjectsDefinition } from "#contracts/checkpoint/v1/project";
import { SchedulesDefinition } from "#contracts/checkpoint/v1/schedule";
import { HostAgentDefinition, Observation, WorkloadState } from "#contracts/host/v1/agent";
import type { Operation } from "#contracts/operation/v1/operation";
import { Host } from "#contracts/scheduler/v1/scheduler";
import { CheckpointType, type Disk, Vm, VmSpec, VmState } from "#contracts/vm/v1/vm";
import { type Clock, systemClock as clock, systemRandom as random } from "#libs/clock";
import { Lifecycle } from "#libs/lifecycle";
import { connectRedis, RedisLeases } from "#libs/locks";
import { silentLogger as logger } from "#libs/logger";
import { JetStreamJobQueue, Operations, RedisJobState } from "#libs/operations";
import {
  type BodyCodec,
  connectNats,
  createRecordStore,
  decodeRecord,
  type Log,
  openStreams,
  type RecordStore,
} from "#libs/records";
import { createRpcClient, RpcServer } from "#libs/rpc";
import { startNats, startRedis } from "#libs/testing";
import { readCheckpointConfig } from "../config.ts";
import { startCheckpoint } from "../service.ts";
import { MemoryAgent } from "./memory-agent.ts";

export const vmName = "projects/default/vms/web-1";
const stateOf: Partial<Record<WorkloadState, VmState>> = {
  [WorkloadState.RUNNING]: VmState.RUNNING,
  [WorkloadState.STOPPED]: VmState.STOPPED,
};

export type TestControlPlane = Awaited<ReturnType<typeof startControlPlane>>;

export const checkpointEvents = "rec.projects.*.vms.*.checkpoints.*";
export const whatOf = (events: { what: string }[]) => events.map(({ what }) => what);

/** Real NATS and Redis, the checkpoint service, and around it what others do: a host's agent, the VM's record. */
export async function startControlPlane(env: Readonly<Record<string, string>> = {}, serviceClock: Clock = clock) {
  const [natsServer, redisServer] = await Promise.all([startNats(), startRedis()]);
  const lifecycle = new Lifecycle();
  const config = readCheckpointConfig({
    NATS_URL: natsServer.url,
    REDIS_URL: redisServer.url,
    CHECKPOINT_ADDRESS: "127.0.0.1:0",
    LOG_LEVEL: process.env.LOG_LEVEL ?? "silent",
    ...env,
  });
  const nats = await connectNats(config, lifecycle);
  const { rec, ops } = await openStreams(nats);
  const operations = await Operations.start({
    ...{ clock, random, ops, records: rec, logger, signal: lifecycle.signal },
    jobs: await JetStreamJobQueue.open(nats),
    ...(await redisParts(config, lifecycle)),
  });
  const agent = new MemoryAgent(random.id("vm"));
  const records = openRecords(rec);
  await startHost(records.hosts, agent, lifecycle);
  const service = await startService(config, serviceClock, lifecycle);
  const parts = {
    agent,
    operations,
    client: service.checkpoints,
    projects: service.projects,
    schedules: service.schedules,
    groups: service.groups,
    ...records,
  };
  return {
    ...parts,
    ...createActions(parts),
    closeService: service.close,
    start: () => startService(config, serviceClock, lifecycle),
    events: (filter: string) => eventsOf(rec, filter),
    observe: (observation: Parameters<typeof Observation.fromPartial>[0]) => observe(nats, observation),
    async [Symbol.asyncDispose]() {
      await lifecycle.close();
      await Promise.all([natsServer[Symbol.asyncDispose](), redisServer[Symbol.asyncDispose]()]);
    },
  };
}

interface Parts {
  readonly agent: MemoryAgent;
  readonly operations: Operations;
  readonly client: CheckpointsClient;
  readonly vms: Vms;
}

/** What a person does, each to its end. */
function createActions({ agent, operations, client, vms }: Parts) {
  const end = (operation: Operation) => finish(operations, operation);
  const create = async (displayName: string, type: CheckpointType = CheckpointType.UNSPECIFIED) =>
    end(await client.createCheckpoint({ parent: vmName, displayName, type }));
  return {
    finish: end,
    create,
    /** Fails when the operation does. */
    async succeed(accepted: Promise<Operation>) {
      const ended = await end(await accepted);
      if (ended.error !== undefined) throw new Error(`${ended.kind}: ${ended.error.message}`);
      return ended;
    },
    /** Gives the VM another checkpoint type. */
    setType: (checkpointType: CheckpointType) =>
      vms.modify(vmName, ({ body }) => ({
        body: { ...body, spec: VmSpec.fromPartial({ ...body.spec, checkpointType }) },
      })),
    /** A VM that is to be recovered, with a point each 15 minutes. */
    createRecovered: () =>
      createVm(vms, agent, { checkpointType: CheckpointType.PRODUCTION, disks: [], recovery: "RECOVERY_RESTART" }),
    createVm: (checkpointType: CheckpointType, disks: readonly Disk[] = []) =>
      createVm(vms, agent, { checkpointType, disks: [...disks] }),
    /** Fails when the checkpoint could not be taken. */
    async createReady(displayName: string) {
      const { error } = await create(displayName);
      if (error !== undefined) throw new Error(`${displayName}: ${error.message}`);
      return client.getCheckpoint({ name: `${vmName}/checkpoints/${displayName}` });
    },
    list: () => client.listCheckpoints({ parent: vmName }),
    /** Id of the operation that holds the VM. */
    holder: async () => (await vms.get(vmName))?.operation,
    /** Does `work` when the host has done the step, before its answer is given. */
    async during(step: string, ask: () => Promise<Operation>, work: () => Promise<void>) {
      const { operation, goOn } = await stopAt(agent, step, ask);
      await work();
      goOn();
      return end(operation);
    },
    /** Cancels when the host has done the step, before its answer is given. */
    async cancelAt(step: string, ask: () => Promise<Operation>) {
      const { operation, goOn } = await stopAt(agent, step, ask);
      await operations.cancel(operation.name.slice("operations/".length));
      const ended = await end(operation);
      goOn();
      return ended;
    },
  };
}

/** Resolves when the host has done the step of the operation that is asked for; it answers when told to go on. */
async function stopAt(agent: MemoryAgent, step: string, ask: () => Promise<Operation>) {
  const reached = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  agent.beforeAnswer = async (done) => {
    if (done !== step) return;
    reached.resolve();
    await goOn.promise;
  };
  const operation = await ask();
  await reached.promise;
  return { operation, goOn: () => goOn.resolve() };
}

async function startHost(hosts: RecordStore<Host>, agent: MemoryAgent, lifecycle: Lifecycle): Promise<void> {
  const server = new RpcServer({ logger }).add(HostAgentDefinition, agent.implementation());
  const agentAddress = await server.listen("127.0.0.1:0");
  lifecycle.add("agent", server, (listening) => listening.close());
  await hosts.create("hosts/n1", { uid: "host-1", body: Host.fromPartial({ name: "hosts/n1", agentAddress }) });
}

async function redisParts(config: { REDIS_URL: string }, lifecycle: Lifecycle) {
  const redis = await connectRedis(config, lifecycle);
  return { jobState: new RedisJobState(redis), leases: new RedisLeases(redis, { clock, random }) };
}

function openRecords(log: Log) {
  const open = <Body>(codec: BodyCodec<Body>) => createRecordStore({ log, codec, clock, random });
  return {
    vms: open<Vm>(Vm),
    hosts: open<Host>(Host),
    checkpoints: open<Checkpoint>(Checkpoint),
    heads: open<Head>(Head),
    recoveryStates: open<RecoveryState>(RecoveryState),
  };
}

/** One replica of the service; closing it is what a crash looks like to the operations it runs. */
async function startService(config: ReturnType<typeof readCheckpointConfig>, serviceClock: Clock, outer: Lifecycle) {
  const lifecycle = new Lifecycle();
  outer.add("service", lifecycle, (inner) => inner.close());
  const { address } = await startCheckpoint(config, lifecycle, { clock: serviceClock });
  const checkpoints = createRpcClient(CheckpointsDefinition, address);
  const projects = createRpcClient(ProjectsDefinition, address);
  const schedules = createRpcClient(SchedulesDefinition, address);
  const groups = createRpcClient(GroupsDefinition, address);
  outer.add("clients", [checkpoints, projects, schedules, groups], (clients) => {
    for (const client of clients) client.close();
  });
  return { checkpoints, projects, schedules, groups, close: () => lifecycle.close() };
}

type Vms = RecordStore<Vm>;

/** What the VM service does: a record, and the host's state folded into it. */
async function createVm(
  vms: Vms,
  agent: MemoryAgent,
  spec: Pick<VmSpec, "checkpointType" | "disks"> & Partial<VmSpec>,
): Promise<void> {
  const state = stateOf[agent.state] ?? VmState.PAUSED;
  const body = Vm.fromPartial({ name: vmName, uid: agent.uid, spec, state, host: "hosts/n1" });
  await vms.create(vmName, { uid: agent.uid, body });
  agent.onState = async (reached) => {
    const next = stateOf[reached] ?? VmState.PAUSED;
    await vms.modify(vmName, ({ body: old }) => ({ body: { ...old, state: next } }));
  };
}

async function finish(operations: Operations, { name }: Operation): Promise<Operation> {
  let last: Operation | undefined;
  for await (const operation of operations.watch(name.slice("operations/".length), AbortSignal.timeout(15_000))) {
    last = operation;
  }
  if (last?.done !== true) throw new Error(`${name} did not end: ${JSON.stringify(last)}`);
  return last;
}

/** Every event on records that match, oldest first, as "aggregate.happened". */
async function eventsOf(log: Log, filter: string) {
  const end = await log.lastSequence();
  const found: { what: string; data: Readonly<Record<string, unknown>>; time?: string }[] = [];
  const stop = new AbortController();
  for await (const { data, sequence, pending } of log.follow(filter, { afterSequence: 0, signal: stop.signal })) {
    for (const event of decodeRecord(data).events) {
      const time = event.time === undefined ? {} : { time: event.time };
      found.push({ what: `${event.aggregate}.${event.happened}`, data: event.data, ...time });
    }
    if (pending === 0 || sequence >= end) stop.abort();
  }
  return found;
}

async function observe(nats: NatsConnection, observation: Parameters<typeof Observation.fromPartial>[0]) {
  const message = Observation.toJSON(Observation.fromPartial(observation));
  await jetstream(nats).publish(`obs.vm.${observation.uid}`, JSON.stringify(message));
}
