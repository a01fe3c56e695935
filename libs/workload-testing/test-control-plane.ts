import type { Observation } from "#contracts/host/v1/agent";
import {
  type Operation,
  OperationState,
  type OperationsClient,
  OperationsDefinition,
} from "#contracts/operation/v1/operation";
import { ImagesDefinition } from "#contracts/registry/v1/registry";
import { Host, type PlaceRequest, SchedulerDefinition } from "#contracts/scheduler/v1/scheduler";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import type { StillpointError } from "#libs/errors";
import { Lifecycle } from "#libs/lifecycle";
import { connectRedis, RedisLeases } from "#libs/locks";
import { silentLogger } from "#libs/logger";
import { JetStreamJobQueue, Operations, operationsHandlers, RedisJobState } from "#libs/operations";
import { connectNats, createRecordStore, decodeRecord, openStreams, type Streams } from "#libs/records";
import { createRpcClient, RpcServer } from "#libs/rpc";
import { freePort, startNats, startRedis } from "#libs/testing";
import { MemoryAgent, type MemoryAgentOptions } from "./memory-agent.ts";
import { observer } from "./nats-observer.ts";
import { hostInTest, standInRegistry, standInScheduler } from "./stand-ins.ts";

/** The service of a kind of workload on real servers; the host's agent, the scheduler and the registry are stand-ins. */
export interface TestControlPlane extends AsyncDisposable {
  /** Where it is reached. */
  readonly address: string;
  /** Ends with the plane. */
  readonly lifecycle: Lifecycle;
  readonly operations: OperationsClient;
  readonly agent: MemoryAgent;
  readonly streams: Streams;
  /** What the stand-in for the scheduler has given out, by uid. */
  readonly reservations: Map<string, PlaceRequest>;
  /** What Place fails with, when set. */
  placeFailure: StillpointError | undefined;
  /** Publishes what an agent saw, as agents do. */
  observe(observation: Partial<Observation>): Promise<void>;
  /** The operation at its end. */
  ended(operation: Operation): Promise<Operation>;
  /** Fails unless the operation succeeded. */
  succeeded(operation: Operation): Promise<Operation>;
  /** What happened to a resource, in order: the events of its newest records. */
  happened(subject: string): Promise<string[]>;
}

export interface TestedService extends MemoryAgentOptions {
  /** "vm" or "container": of the observations. */
  readonly word: string;
  /** Starts the real service. */
  readonly start: (env: Record<string, string>, lifecycle: Lifecycle, server: RpcServer) => Promise<unknown>;
}

export async function startTestControlPlane(service: TestedService): Promise<TestControlPlane> {
  const stack = new AsyncDisposableStack();
  const nats = stack.use(await startNats());
  const redis = stack.use(await startRedis());
  const agent = stack.use(new MemoryAgent(service));
  const lifecycle = new Lifecycle();
  stack.defer(() => lifecycle.close());
  const address = `127.0.0.1:${await freePort()}`;
  const env = { NATS_URL: nats.url, REDIS_URL: redis.url, LOG_LEVEL: "silent", STILLPOINT_ADDRESS: address };

  const connection = await connectNats(env, lifecycle);
  const streams = await openStreams(connection);
  await registerHost(streams, await agent.listen());
  const reservations = new Map<string, PlaceRequest>();
  const plane = { placeFailure: undefined as StillpointError | undefined };
  const server = new RpcServer({ logger: silentLogger })
    .add(
      SchedulerDefinition,
      standInScheduler(reservations, () => plane.placeFailure),
    )
    .add(ImagesDefinition, standInRegistry())
    .add(OperationsDefinition, operationsHandlers(await openOperations(env, lifecycle, { connection, streams })));
  await service.start(env, lifecycle, server);
  lifecycle.add("grpc", server, (it) => it.close());
  await server.listen(address);

  const operations = createRpcClient(OperationsDefinition, address);
  lifecycle.add("client of operations", operations, (it) => it.close());
  return Object.assign(plane, {
    ...{ address, lifecycle, operations, agent, streams, reservations },
    ...askingOf(operations),
    observe: observer(connection, service.word),
    happened: (name: string) => eventsOf(streams, name),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  });
}

async function registerHost({ rec }: Streams, agentAddress: string): Promise<void> {
  const host = Host.fromPartial({ name: hostInTest, uid: "host-1", agentAddress });
  const hosts = createRecordStore({ log: rec, codec: Host, clock, random });
  await hosts.create(hostInTest, { uid: host.uid, body: host });
}

function askingOf(operations: OperationsClient): Pick<TestControlPlane, "ended" | "succeeded"> {
  const ended = ({ name }: Operation) => lastOf(operations.watchOperation({ name }));
  return {
    ended,
    async succeeded(operation) {
      const last = await ended(operation);
      if (last.state !== OperationState.SUCCEEDED) throw new Error(`${last.kind}: ${last.error?.message}`);
      return last;
    },
  };
}

async function openOperations(
  env: { readonly REDIS_URL: string },
  lifecycle: Lifecycle,
  { connection, streams }: { connection: Awaited<ReturnType<typeof connectNats>>; streams: Streams },
): Promise<Operations> {
  const redis = await connectRedis(env, lifecycle);
  return Operations.start({
    ops: streams.ops,
    records: streams.rec,
    jobs: await JetStreamJobQueue.open(connection),
    jobState: new RedisJobState(redis),
    leases: new RedisLeases(redis, { clock, random }),
    ...{ clock, random, logger: silentLogger, signal: lifecycle.signal },
  });
}

async function lastOf(updates: AsyncIterable<Operation>): Promise<Operation> {
  let last: Operation | undefined;
  for await (const update of updates) last = update;
  if (last === undefined) throw new Error("the operation was never told of");
  return last;
}

async function eventsOf({ rec }: Streams, name: string): Promise<string[]> {
  const happened: string[] = [];
  const stop = new AbortController();
  const filter = `rec.${name.replaceAll("/", ".")}`;
  for await (const message of rec.follow(filter, { afterSequence: 0, signal: stop.signal })) {
    happened.push(...decodeRecord(message.data).events.map((event) => event.happened));
    if (message.pending === 0) stop.abort();
  }
  return happened;
}
