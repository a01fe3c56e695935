import type { Redis } from "ioredis";
import { AccountsDefinition } from "#contracts/registry/v1/accounts";
import { CollectionDefinition } from "#contracts/registry/v1/collection";
import { QuotasDefinition } from "#contracts/registry/v1/quotas";
import { ImagesDefinition } from "#contracts/registry/v1/registry";
import { authorise } from "#libs/auth";
import { type Clock, systemRandom as random, systemClock } from "#libs/clock";
import type { Lifecycle } from "#libs/lifecycle";
import { connectRedis, type Leases, RedisLeases } from "#libs/locks";
import { createLogger, type Logger } from "#libs/logger";
import { RpcServer } from "#libs/rpc";
import { openAccess } from "./auth/access.ts";
import { openHostIdentities, withoutForgotten } from "./auth/forgotten-hosts.ts";
import { lateAuth } from "./auth/late-auth.ts";
import { openAuth } from "./auth/open-auth.ts";
import { collectionHandlers } from "./collection-handlers.ts";
import type { RegistryConfig } from "./config.ts";
import { imagesHandlers } from "./handlers.ts";
import { listen } from "./http/listen.ts";
import { createOciServer } from "./http/oci-server.ts";
import type { Late } from "./late.ts";
import { lateHandlers } from "./late-handlers.ts";
import { requestMetrics } from "./metrics.ts";
import { lateMeter } from "./quota/late-meter.ts";
import { openQuotas } from "./quota/open-quotas.ts";
import { openRecords } from "./records.ts";
import type { LinkMeter } from "./store/link-meter.ts";
import type { ObjectStore } from "./store/object-store.ts";
import { openObjects } from "./store/open-objects.ts";
import { openStore, type RegistryStore } from "./store/open-store.ts";
import { redisBlobHolders } from "./store/redis-blob-holders.ts";
import { UploadSessions } from "./store/upload-sessions.ts";
import type { Uploads } from "./store/uploads.ts";
import { startUpkeep } from "./upkeep.ts";

const EXPIRY_EVERY_MS = 600_000;
/** For so long a start waits for NATS; then the registry serves without it, until it comes. */
const PATIENCE_MS = 2_000;

interface Foundation {
  readonly config: RegistryConfig;
  readonly redis: Redis;
  readonly leases: Leases;
  readonly objects: ObjectStore;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Wires the service together. With `server`, the gRPC part is added there and `address` is empty. */
export async function startRegistry(
  config: RegistryConfig,
  lifecycle: Lifecycle,
  { server, clock = systemClock }: { server?: RpcServer; clock?: Clock } = {},
): Promise<{ address: string; httpAddress: string }> {
  const logger = createLogger({ name: "registry", level: config.LOG_LEVEL });
  const redis = await connectRedis(config, lifecycle);
  const leases = new RedisLeases(redis, { clock, random });
  const objects = await openObjects(config, lifecycle);
  const base: Foundation = { config, redis, leases, objects, clock, logger };
  const records = openRecords(config, lifecycle);
  const quotas = records?.map(({ log }) => openQuotas({ ...base, log }, lifecycle));
  const store = openRegistryStore(base, quotas && lateMeter(quotas), lifecycle);
  const { signal } = lifecycle;
  const uploadOwner = store.uploads.owner.bind(store.uploads);
  const publicUrl = config.REGISTRY_PUBLIC_URL;
  const auth = records?.map(({ log }) => openAuth({ ...base, log, signal, publicUrl, uploadOwner }));
  await waitFor([records, quotas, auth], base);

  const upkeep = await startUpkeep(
    { ...base, store, records, random, replenish: () => objects.replenish() },
    lifecycle,
  );
  const telling = { ...upkeep, holders: redisBlobHolders(redis), countRequest: requestMetrics(), clock, logger };
  // Accounts may be made before anybody is asked for one.
  const entrance = auth !== undefined && config.REGISTRY_AUTH === "token" ? lateAuth(auth) : { access: openAccess };
  const access = withoutForgotten(
    entrance.access,
    records?.map(({ log }) => openHostIdentities(log, signal)),
  );
  const oci = createOciServer({ ...store, ...entrance, access, ...telling });
  const http = await listen(oci, config.REGISTRY_HTTP_ADDRESS);
  lifecycle.add("http", http, (it) => it.close());

  const grpc = server ?? lifecycle.add("grpc", new RpcServer({ logger }), (it) => it.close());
  if (auth) grpc.add(AccountsDefinition, lateHandlers(auth.map(({ handlers }) => handlers)));
  if (quotas) grpc.add(QuotasDefinition, lateHandlers(quotas.map(({ handlers }) => handlers)));
  grpc.add(CollectionDefinition, collectionHandlers({ ...upkeep, ...upkeep.sweep, authorise }));
  grpc.add(ImagesDefinition, imagesHandlers({ ...store, ...upkeep, authorise }));
  const address = server === undefined ? await grpc.listen(config.REGISTRY_ADDRESS) : "";
  return { address, httpAddress: http.address };
}

/** What fails in time is the start's failure; what comes later is told in the log. */
async function waitFor(all: readonly (Late<unknown> | undefined)[], { clock, logger }: Foundation): Promise<void> {
  const parts = all.filter((part) => part !== undefined);
  await Promise.all(parts.map((part) => part.wait(PATIENCE_MS, clock)));
  if (parts.every((part) => part.now !== undefined)) return;
  logger.warn("NATS does not answer: accounts and quotas are not known yet, events wait");
  for (const part of parts) part.onFailure((err) => logger.error({ err }, "NATS cannot be used"));
}

function openRegistryStore(
  { config, objects, redis, clock, logger }: Foundation,
  meter: LinkMeter | undefined,
  lifecycle: Lifecycle,
): RegistryStore {
  const ttlMs = config.REGISTRY_UPLOAD_TTL_SECONDS * 1_000;
  const store = openStore({
    objects,
    meter,
    sessions: new UploadSessions(redis, { ttlMs }),
    maxBlobBytes: config.REGISTRY_MAX_BLOB_BYTES,
    clock,
    random,
    graceMs: config.REGISTRY_GRACE_SECONDS * 1_000,
  });
  const running = expireUploads(store.uploads, { ttlMs, clock, signal: lifecycle.signal, logger });
  lifecycle.add("upload expiry", { running }, (expiry) => expiry.running);
  return store;
}

async function expireUploads(
  uploads: Uploads,
  { ttlMs, clock, signal, logger }: { ttlMs: number; clock: Clock; signal: AbortSignal; logger: Logger },
): Promise<void> {
  while (!signal.aborted) {
    const before = new Date(clock.now().getTime() - ttlMs);
    await uploads.expire(before).catch((error: unknown) => logger.error({ err: error }, "uploads could not expire"));
    await clock.sleep(EXPIRY_EVERY_MS, signal).catch(() => {});
  }
}
