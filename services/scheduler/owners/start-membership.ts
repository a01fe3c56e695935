import { hostname } from "node:os";
import { SchedulerReplica } from "#contracts/scheduler/v1/scheduler";
import { systemClock as clock, systemRandom as random } from "#libs/clock";
import type { Lifecycle } from "#libs/lifecycle";
import type { Logger } from "#libs/logger";
import { createRecordStore, type Log, RecordView } from "#libs/records";
import type { SchedulerConfig } from "../config.ts";
import { repeat } from "../repeat.ts";
import { Membership } from "./membership.ts";

export interface MembershipParts {
  readonly log: Log;
  readonly logger: Logger;
  readonly knowsHostsAt: (version: number) => Promise<void>;
}

/** The membership, and what makes this replica join when others can reach it at an address; resolves when it owns its share. */
export async function openMembership(
  config: SchedulerConfig,
  lifecycle: Lifecycle,
  { log, logger, knowsHostsAt }: MembershipParts,
): Promise<{ membership: Membership; join: (address: string) => Promise<void> }> {
  const { signal } = lifecycle;
  const ttlMs = config.SCHEDULER_TTL_MS;
  const codec = SchedulerReplica;
  const store = createRecordStore({ log, codec, clock, random, patienceMs: ttlMs });
  const view = await RecordView.start({ log, filter: "rec.schedulers.*", codec, signal });
  let address = "";
  const deps = { store, view, knowsHostsAt, clock, random, logger, ttlMs, signal };
  const membership = new Membership({ ...deps, address: () => address });
  lifecycle.add("membership", membership, (it) => it.close());
  const join = async (listening: string) => {
    address = config.SCHEDULER_ADVERTISE_ADDRESS ?? reachable(listening);
    const loop = repeat({ clock, logger, signal }, Math.floor(ttlMs / 3), () => membership.tick());
    lifecycle.add("renewals", { loop }, (it) => it.loop);
    await membership.tick();
    await membership.isJoined();
  };
  return { membership, join };
}

/** Who listens on every address is reached by the machine's name. */
const reachable = (listening: string): string => listening.replace(/^(0\.0\.0\.0|\[::\]):/, `${hostname()}:`);
