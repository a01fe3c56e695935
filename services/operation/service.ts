import { EventsDefinition } from "#contracts/event/v1/event";
import { OperationsDefinition } from "#contracts/operation/v1/operation";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import { eventsHandlers, projectedUpTo, startProjector } from "#libs/events";
import type { Lifecycle } from "#libs/lifecycle";
import { connectRedis } from "#libs/locks";
import { createLogger } from "#libs/logger";
import { openOperations, operationsHandlers, probeJob, startRewriter, startRunner } from "#libs/operations";
import { connectNats, natsHealth, openStreams, startCompactor } from "#libs/records";
import { RpcServer } from "#libs/rpc";
import type { OperationConfig } from "./config.ts";

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
  const redis = await connectRedis(config, lifecycle);
  const streams = await openStreams(nats);
  const operations = await openOperations({ nats, redis, streams, logger, signal: lifecycle.signal });

  const projector = startProjector({ records: streams.rec, events: streams.evt, clock, random, logger });
  lifecycle.add("projector", projector, (it) => it.close());
  const projected = () => projectedUpTo(streams.evt);
  const compactor = startCompactor({ records: streams.rec, projected, clock, logger });
  lifecycle.add("compactor", compactor, (it) => it.close());
  lifecycle.add("rewriter", startRewriter(operations), (it) => it.close());
  const runner = startRunner(operations, { jobs: [probeJob], ttlMs: config.OPERATION_TTL_MS });
  lifecycle.add("operation runner", runner, (it) => it.close());

  const own = server ?? lifecycle.add("grpc", new RpcServer({ logger, health: natsHealth(nats) }), (it) => it.close());
  own.add(OperationsDefinition, operationsHandlers(operations));
  own.add(EventsDefinition, eventsHandlers(streams.evt));
  return { address: server === undefined ? await own.listen(config.OPERATION_ADDRESS) : "" };
}
