import { CollectionDefinition } from "#contracts/registry/v1/collection";
import { ImagesDefinition } from "#contracts/registry/v1/registry";
import { authorise } from "#libs/auth";
import { type Clock, systemRandom as random, systemClock } from "#libs/clock";
import type { Lifecycle } from "#libs/lifecycle";
import { connectRedis, RedisLeases } from "#libs/locks";
import { createLogger, type Logger } from "#libs/logger";
import { connectNats, openStreams } from "#libs/records";
import { RpcServer } from "#libs/rpc";
import { openAccess } from "./auth/access.ts";
import { openAuth } from "./auth/open-auth.ts";
import { collectionHandlers } from "./collection-handlers.ts";
import type { RegistryConfig } from "./config.ts";
import { imagesHandlers } from "./handlers.ts";
import { listen } from "./http/listen.ts";
import { createOciServer } from "./http/oci-server.ts";
import { requestMetrics } from "./metrics.ts";
import { openQuotas } from "./quota/open-quotas.ts";
import { openObjects } from "./store/open-objects.ts";
import { openStore } from "./store/open-store.ts";
import { redisBlobHolders } from "./store/redis-blob-holders.ts";
import { UploadSessions } from "./store/upload-sessions.ts";
import type { Uploads } from "./store/uploads.ts";
import { startUpkeep } from "./upkeep.ts";

const EXPIRY_EVERY_MS = 600_000;

/** Wires the service together. With `server`, the gRPC part is added there and `address` is empty. */
export async function startRegistry(
  config: RegistryConfig,
  lifecycle: Lifecycle,
  { server, clock = systemClock }: { server?: RpcServer; clock?: Clock } = {},
): Promise<{ address: string; httpAddress: string }> {
  const logger = createLogger({ name: "registry", level: config.LOG_LEVEL });
  const ttlMs = config.REGISTRY_UPLOAD_TTL_SECONDS * 1_000;
  const redis = await connectRedis(config, lifecycle);
  const leases = new RedisLeases(redis, { clock, random });
  const objects = await openObjects(config, lifecycle);
  const nats = await connect(config, lifecycle);
  const log = nats?.log;
  const quotas = log && (await openQuotas({ log, redis, objects, leases, clock, logger }, lifecycle));
  const store = openStore({
    objects,
    meter: quotas?.meter,
    sessions: new UploadSessions(redis, { ttlMs }),
    maxBlobBytes: config.REGISTRY_MAX_BLOB_BYTES,
    clock,
    random,
    graceMs: config.REGISTRY_GRACE_SECONDS * 1_000,
  });
  const running = expireUploads(store.uploads, { ttlMs, clock, signal: lifecycle.signal, logger });
  lifecycle.add("upload expiry", { running }, (expiry) => expiry.running);

  const upkeep = startUpkeep({ store, config, redis, leases, nats, clock, random, logger }, lifecycle);

  const { signal } = lifecycle;
  const { REGISTRY_PUBLIC_URL: publicUrl } = config;
  const uploadOwner = store.uploads.owner.bind(store.uploads);
  const auth = log && (await openAuth({ log, redis, clock, logger, signal, publicUrl, uploadOwner }));
  const telling = { ...upkeep, holders: redisBlobHolders(redis), countRequest: requestMetrics(), clock, logger };
  // Accounts may be made before anybody is asked for one.
  const entrance = auth !== undefined && config.REGISTRY_AUTH === "token" ? auth : { access: openAccess };
  const http = await listen(createOciServer({ ...store, ...entrance, ...telling }), config.REGISTRY_HTTP_ADDRESS);
  lifecycle.add("http", http, (it) => it.close());

  const add = (to: RpcServer) => {
    for (const part of [auth, quotas]) part?.addTo(to);
    to.add(CollectionDefinition, collectionHandlers({ ...upkeep, ...upkeep.sweep, authorise }));
    return to.add(ImagesDefinition, imagesHandlers({ ...store, ...upkeep, authorise }));
  };
  if (server !== undefined) {
    add(server);
    return { address: "", httpAddress: http.address };
  }
  const own = lifecycle.add("grpc", add(new RpcServer({ logger })), (it) => it.close());
  return { address: await own.listen(config.REGISTRY_ADDRESS), httpAddress: http.address };
}

/** Accounts, quotas and events are records; where none of them is wanted, no NATS is needed. */
async function connect(config: RegistryConfig, lifecycle: Lifecycle) {
  if (config.REGISTRY_AUTH === "none" && config.REGISTRY_EVENTS === "none") return undefined;
  const connection = await connectNats(config, lifecycle);
  return { connection, log: (await openStreams(connection)).rec };
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
