import { jetstream } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { Checkpoint, CheckpointsDefinition, Head } from "#contracts/checkpoint/v1/checkpoint";
import { HostAgentDefinition, Observation, WorkloadState } from "#contracts/host/v1/agent";
import type { Operation } from "#contracts/operation/v1/operation";
import { Host } from "#contracts/scheduler/v1/scheduler";
import { type CheckpointType, Vm, VmState } from "#contracts/vm/v1/vm";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { Lifecycle } from "#libs/lifecycle";
import { connectRedis, RedisLeases } from "#libs/locks";
import { silentLogger as logger } from "#libs/logger";
import { JetStreamJobQueue, Operations, RedisJobState } from "#libs/operations";
import { type BodyCodec, connectNats, createRecordStore, decodeRecord, type Log, openStreams } from "#libs/records";
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

/** Real NATS and Redis, the checkpoint service, and around it what others do: a host's agent, the VM's record. */
export async function startControlPlane() {
  const [natsServer, redisServer] = await Promise.all([startNats(), startRedis()]);
  const lifecycle = new Lifecycle();
  const config = readCheckpointConfig({
    NATS_URL: natsServer.url,
    REDIS_URL: redisServer.url,
    CHECKPOINT_ADDRESS: "127.0.0.1:0",
    LOG_LEVEL: process.env.LOG_LEVEL ?? "silent",
  });
  const nats = await connectNats(config, lifecycle);
  const { rec, ops } = await openStreams(nats);
  const ports = { clock, random };
  const operations = await Operations.start({
    ...{ ...ports, ops, records: rec, logger, signal: lifecycle.signal },
    jobs: await JetStreamJobQueue.open(nats),
    ...(await redisParts(config, lifecycle)),
  });
  const agent = new MemoryAgent(random.id("vm"));
  const agentServer = new RpcServer({ logger }).add(HostAgentDefinition, agent.implementation());
  const agentAddress = await agentServer.listen("127.0.0.1:0");
  lifecycle.add("agent", agentServer, (server) => server.close());
  const records = openRecords(rec);
  await records.hosts.create("hosts/n1", { uid: "host-1", body: Host.fromPartial({ name: "hosts/n1", agentAddress }) });
  const start = () => startService(config, lifecycle);
  const client = await start();

  return {
    agent,
    client: client.checkpoints,
    closeService: client.close,
    start,
    operations,
    nats,
    ...records,
    events: (filter: string) => eventsOf(rec, filter),
    finish: (operation: Operation) => finish(operations, operation),
    createVm: (type: CheckpointType) => createVm(records.vms, agent, type),
    observe: (observation: Parameters<typeof Observation.fromPartial>[0]) => observe(nats, observation),
    async [Symbol.asyncDispose]() {
      await lifecycle.close();
      await Promise.all([natsServer[Symbol.asyncDispose](), redisServer[Symbol.asyncDispose]()]);
    },
  };
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
  };
}

/** One replica of the service; closing it is what a crash looks like to the operations it runs. */
async function startService(config: ReturnType<typeof readCheckpointConfig>, outer: Lifecycle) {
  const lifecycle = new Lifecycle();
  outer.add("service", lifecycle, (inner) => inner.close());
  const { address } = await startCheckpoint(config, lifecycle);
  const checkpoints = createRpcClient(CheckpointsDefinition, address);
  outer.add("client", checkpoints, (client) => client.close());
  return { checkpoints, close: () => lifecycle.close() };
}

type Vms = ReturnType<typeof openRecords>["vms"];

/** What the VM service does: a record, and the host's state folded into it. */
async function createVm(vms: Vms, agent: MemoryAgent, checkpointType: CheckpointType): Promise<void> {
  const state = stateOf[agent.state] ?? VmState.PAUSED;
  const body = Vm.fromPartial({ name: vmName, uid: agent.uid, spec: { checkpointType }, state, host: "hosts/n1" });
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
