import type { Redis } from "ioredis";
import type { QuotasServiceImplementation } from "#contracts/registry/v1/quotas";
import type { Clock } from "#libs/clock";
import type { Lifecycle } from "#libs/lifecycle";
import type { Leases } from "#libs/locks";
import type { Logger } from "#libs/logger";
import type { Log } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import type { LinkMeter } from "../store/link-meter.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { RepositoryStore } from "../store/repository-store.ts";
import { quotasHandlers } from "./handlers.ts";
import { QuotaMeter } from "./quota-meter.ts";
import { parseQuotaName, QuotaStore } from "./quota-store.ts";
import { Recounter } from "./recounter.ts";
import { redisUsage } from "./redis-usage.ts";

export interface OpenQuotasDeps {
  readonly log: Log;
  readonly redis: Redis;
  readonly objects: ObjectStore;
  readonly leases: Leases;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface Quotas {
  readonly meter: LinkMeter;
  readonly handlers: QuotasServiceImplementation<CallScope>;
}

const RECOUNT_EVERY_MS = 3_600_000;

/** Opens the quotas of projects; what they hold is counted anew now and once an hour. */
export async function openQuotas(deps: OpenQuotasDeps, lifecycle: Lifecycle): Promise<Quotas> {
  const { redis, objects, clock, logger } = deps;
  const quotas = await QuotaStore.open({ ...deps, signal: lifecycle.signal });
  const usage = redisUsage(redis);
  // It only reads what is linked: whether somebody wants that is not asked.
  const repositories = new RepositoryStore(objects, { wanted: async () => true });
  const recounter = new Recounter({ ...deps, repositories, usage });
  const running = recountAll({ quotas, recounter, clock, logger, signal: lifecycle.signal });
  lifecycle.add("counting of quotas", { running }, (it) => it.running);
  return {
    meter: new QuotaMeter({ quotas, usage, recounter, logger }),
    handlers: quotasHandlers({ quotas, usage, recounter }),
  };
}

interface RecountAll {
  readonly quotas: QuotaStore;
  readonly recounter: Recounter;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

async function recountAll({ quotas, recounter, clock, logger, signal }: RecountAll): Promise<void> {
  while (!signal.aborted) {
    for (const { name } of quotas.list()) {
      if (signal.aborted) return;
      await recounter
        .recount(parseQuotaName(name))
        .catch((err: unknown) => logger.warn({ err }, "a quota was not counted"));
    }
    await clock.sleep(RECOUNT_EVERY_MS, signal).catch(() => {});
  }
}
