import type { NatsConnection } from "@nats-io/transport-node";
import type { Redis } from "ioredis";
import { systemClock, systemRandom } from "#libs/clock";
import { RedisLeases } from "#libs/locks";
import type { Logger } from "#libs/logger";
import type { Streams } from "#libs/records";
import { JetStreamJobQueue } from "./jetstream-job-queue.ts";
import { Operations } from "./operations.ts";
import { RedisJobState } from "./redis-job-state.ts";

export interface OpenOperations {
  readonly nats: NatsConnection;
  readonly redis: Redis;
  readonly streams: Pick<Streams, "rec" | "ops">;
  readonly logger: Pick<Logger, "info" | "warn" | "error">;
  /** The service's lifecycle signal. */
  readonly signal: AbortSignal;
  /** Only operations of these services are run or listed here; those of all when left out. */
  readonly services?: readonly string[];
}

/** The operations of a service on real servers: what its wiring needs, beside its runner. */
export async function openOperations(options: OpenOperations): Promise<Operations> {
  const { nats, redis, streams, logger, signal, services } = options;
  const ports = { clock: systemClock, random: systemRandom };
  return await Operations.start({
    ...{ ...ports, logger, signal, services, ops: streams.ops, records: streams.rec },
    jobs: await JetStreamJobQueue.open(nats),
    jobState: new RedisJobState(redis),
    leases: new RedisLeases(redis, ports),
  });
}
