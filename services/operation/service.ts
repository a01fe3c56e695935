import { jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import type { Redis } from "ioredis";
import { EventsDefinition } from "#contracts/event/v1/event";
import { AdminDefinition } from "#contracts/operation/v1/admin";
import { OperationsDefinition } from "#contracts/operation/v1/operation";
import { Host } from "#contracts/scheduler/v1/scheduler";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { eventsHandlers, projectedUpTo, startProjector } from "#libs/events";
import { createHostAgents, createHostManifests } from "#libs/host-agent";
import type { Lifecycle } from "#libs/lifecycle";
import { connectRedis } from "#libs/locks";
import { createLogger, type Logger } from "#libs/logger";
import {
  type Operations,
  openOperations,
  operationsHandlers,
  probeJob,
  startRewriter,
  startRunner,
} from "#libs/operations";
import {
  connectNats,
  createRecordStore,
  natsHealth,
  openStreams,
  RecordView,
  rawCodec,
  type Streams,
  startCompactor,
} from "#libs/records";
import { RpcServer } from "#libs/rpc";
import { adminHandlers } from "./admin/handlers.ts";
import type { OperationConfig } from "./config.ts";
import { keepStreams } from "./keep-streams.ts";
import { keepCopies } from "./keeper/keep-copies.ts";
import { discardJob } from "./rebuild/discard.ts";
import { watchRoom } from "./watch-room.ts";

const unchecked =
  "NATS_MONITOR_URL is not set, so that nobody can check that nats-server has sync_interval: always, " +
  "without which acknowledged writes are lost when the power fails";

/** Wires the service together. With `server`, the APIs are added there and `address` is empty. */
export async function startOperation(
  config: OperationConfig,
  lifecycle: Lifecycle,
  { server }: { server?: RpcServer } = {},
): Promise<{ address: string }> {
  const logger = createLogger({ name: "operation", level: config.LOG_LEVEL });
  if (config.NATS_MONITOR_URL === undefined) {
    // With TLS it serves others than this machine.
    if (config.TLS_CA !== undefined) throw new Error(unchecked);
    logger.warn(unchecked);
  }
  const nats = await connectNats(config, lifecycle);
  keepWatch(config, lifecycle, logger);
  const redis = await connectRedis(config, lifecycle);
  const streams = await openStreams(nats);
  const operations = await openOperations({ nats, redis, streams, logger, signal: lifecycle.signal });

  const projector = startProjector({ records: streams.rec, events: streams.evt, clock, random, logger });
  lifecycle.add("projector", projector, (it) => it.close());
  const projected = () => projectedUpTo(streams.evt);
  const compactor = startCompactor({ records: streams.rec, projected, clock, logger });
  lifecycle.add("compactor", compactor, (it) => it.close());
  lifecycle.add("rewriter", startRewriter(operations), (it) => it.close());
  const admin = await openAdmin({ nats, redis, streams, operations, logger }, lifecycle);
  const runner = startRunner(operations, { jobs: [probeJob, admin.job], ttlMs: config.OPERATION_TTL_MS });
  lifecycle.add("operation runner", runner, (it) => it.close());

  const own = server ?? lifecycle.add("grpc", new RpcServer({ logger, health: natsHealth(nats) }), (it) => it.close());
  own.add(OperationsDefinition, operationsHandlers(operations));
  own.add(EventsDefinition, eventsHandlers(streams.evt));
  own.add(AdminDefinition, admin.handlers);
  return { address: server === undefined ? await own.listen(config.OPERATION_ADDRESS) : "" };
}

function keepWatch({ NATS_MONITOR_URL: monitorUrls }: OperationConfig, lifecycle: Lifecycle, logger: Logger): void {
  if (monitorUrls === undefined) return;
  const watching = watchRoom({ monitorUrls, clock, logger, signal: lifecycle.signal });
  lifecycle.add("room of NATS", { watching }, (it) => it.watching);
}

interface Opened {
  readonly nats: NatsConnection;
  readonly redis: Redis;
  readonly streams: Streams;
  readonly operations: Operations;
  readonly logger: Logger;
}

/** What there is for disasters: streams that come back, copies of records on hosts, and the API to use them. */
async function openAdmin({ nats, logger, ...opened }: Opened, lifecycle: Lifecycle) {
  const { signal } = lifecycle;
  const { streams } = opened;
  const manager = await jetstreamManager(nats);
  const keeping = keepStreams({ nats, manager, clock, logger, signal });
  lifecycle.add("streams", { keeping }, (it) => it.keeping);
  const hosts = await RecordView.start({ log: streams.rec, filter: "rec.hosts.*", codec: Host, signal });
  const addressOf = (name: string): string => {
    const host = hosts.get(name);
    if (host === undefined) throw new StillpointError("HOST_NOT_FOUND", `there is no host ${name}`);
    return host.body.agentAddress;
  };
  const manifests = lifecycle.add("host manifests", createHostManifests({ addressOf }), (it) => it.close());
  const copying = keepCopies({ nats, records: streams.rec, hosts, manifests, clock, logger, signal });
  lifecycle.add("copies of records", { copying }, (it) => it.copying);
  const natsVersion = () => nats.info?.version ?? "";
  const store = createRecordStore({ log: streams.rec, codec: rawCodec, clock, random });
  const agents = lifecycle.add("host agents", createHostAgents({ addressOf }), (it) => it.close());
  const handlers = adminHandlers({ ...opened, store, manager, manifests, natsVersion, clock, random });
  return { handlers, job: discardJob({ store, agents }) };
}
