import type { NatsConnection } from "@nats-io/transport-node";
import type { HostIdentity } from "#contracts/scheduler/v1/scheduler";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import type { Lifecycle } from "#libs/lifecycle";
import type { Logger } from "#libs/logger";
import { parseHostName } from "#libs/names";
import { answerCallouts, Issuer } from "#libs/nats-callout";
import { connectNats, type RecordStore } from "#libs/records";
import type { SchedulerConfig } from "../config.ts";
import { hostAccess, natsUserOf } from "./host-access.ts";
import { endConnections } from "./nats-cut-off.ts";

export interface AccessDeps {
  readonly nats: NatsConnection;
  readonly identities: RecordStore<HostIdentity>;
  readonly logger: Logger;
}

export interface Access {
  /** Ends what the agent of a host (hosts/<host>) has open in NATS. Does nothing where NATS asks nobody about hosts. */
  readonly cutOff: (host: string) => Promise<void>;
}

/** Tells NATS what hosts may do there, where it asks us (NATS_ISSUER_SEED). */
export async function startAccess(
  config: SchedulerConfig,
  lifecycle: Lifecycle,
  { nats, identities, logger }: AccessDeps,
): Promise<Access> {
  if (config.NATS_ISSUER_SEED !== undefined) {
    const issuer = new Issuer(config.NATS_ISSUER_SEED);
    const decide = (certificate: string | undefined) => hostAccess({ identities, clock, random }, certificate);
    lifecycle.add("callouts", answerCallouts(nats, { issuer, decide, clock, logger }), (it) => it.close());
  }
  if (config.NATS_SYSTEM_URL === undefined) return { cutOff: async () => undefined };
  const system = await connectNats({ NATS_URL: config.NATS_SYSTEM_URL }, lifecycle);
  return { cutOff: (host) => endConnections(system, natsUserOf(parseHostName(host))) };
}
