import type { NatsConnection } from "@nats-io/transport-node";
import { HeartbeatAck } from "#contracts/host/v1/agent";
import { systemClock } from "#libs/clock";
import type { Lifecycle } from "#libs/lifecycle";
import type { Logger } from "#libs/logger";
import { ownIdentity } from "#libs/tls";
import manifest from "../../../package.json" with { type: "json" };
import { readCapacity } from "../capabilities.ts";
import type { AgentConfig } from "../config.ts";
import { beat, type HeartbeatDeps } from "./heartbeat.ts";
import type { HostLease } from "./host-lease.ts";
import { LivelyConnection } from "./lively-connection.ts";

/** Without an answer for so long something may be wrong with the connection. */
const DOUBTED_MS = 1_000;
/** An answer that comes later has no lease left in it. */
const ANSWERED_MS = 10_000;

export interface HeartbeatWiring extends Pick<HeartbeatDeps, "hostUid" | "address" | "capabilities" | "workloads"> {
  readonly nats: NatsConnection;
  readonly lease: HostLease;
  readonly logger: Logger;
}

/** Says that this host lives until the lifecycle ends, and hears the answers, from whichever replicas they come. */
export async function startHeartbeat(
  config: AgentConfig,
  lifecycle: Lifecycle,
  { nats, lease, logger, ...known }: HeartbeatWiring,
): Promise<void> {
  const line = new LivelyConnection(nats, logger);
  const deps: HeartbeatDeps = {
    ...known,
    lease,
    host: config.AGENT_HOST_NAME,
    labels: Object.fromEntries(
      config.AGENT_LABELS.split(",")
        .filter(Boolean)
        .map((pair) => pair.split("=")),
    ),
    zone: config.AGENT_ZONE ?? "",
    capacity: await readCapacity(config.AGENT_DATA),
    version: manifest.version,
    certificateExpireTime: () => ownIdentity()?.expireTime,
    send: asksOver({ nats, line, lease, logger }),
    urged: () => Promise.race([line.returned, lease.asks]),
    clock: systemClock,
  };
  const beating = beat(deps, lifecycle.signal);
  beating.catch((error: unknown) => logger.error({ err: error }, "the heartbeat has stopped"));
  lifecycle.add("heartbeat", { beating }, (heart) => heart.beating);
}

export interface Asking {
  readonly nats: Pick<NatsConnection, "requestMany">;
  readonly line: Pick<LivelyConnection, "doubt">;
  readonly lease: Pick<HostLease, "hear">;
  readonly logger: Logger;
}

/** Sends heartbeats as requests, and hears what comes back on each. */
export function asksOver(asking: Asking): HeartbeatDeps["send"] {
  return (subject, json) => {
    ask(asking, subject, json).catch((error: unknown) => {
      asking.logger.debug({ err: error }, "a heartbeat is not answered");
    });
  };
}

/** Of a request that takes one answer a second one is lost: in the moment of a change of owners two may come. */
async function ask({ nats, line, lease }: Asking, subject: string, json: string): Promise<void> {
  const doubt = setTimeout(() => line.doubt(), DOUBTED_MS);
  try {
    const answers = await nats.requestMany(subject, json, { strategy: "timer", maxWait: ANSWERED_MS });
    for await (const answer of answers) {
      clearTimeout(doubt);
      await lease.hear(HeartbeatAck.fromJSON(answer.json()));
    }
  } finally {
    clearTimeout(doubt);
  }
}
