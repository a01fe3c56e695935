import type { Redis } from "ioredis";
import { ImagesDefinition } from "#contracts/registry/v1/registry";
import { authorise } from "#libs/auth";
import { type Clock, systemRandom as random, systemClock } from "#libs/clock";
import type { Lifecycle } from "#libs/lifecycle";
import { connectRedis, RedisLeases } from "#libs/locks";
import { createLogger, type Logger } from "#libs/logger";
import { connectNats, openStreams } from "#libs/records";
import { RpcServer } from "#libs/rpc";
import { openAccess } from "./auth/access.ts";
import { type Auth, openAuth } from "./auth/open-auth.ts";
import { logCollection } from "./collect/log-collection.ts";
import { startCollection } from "./collect/start.ts";
import type { RegistryConfig } from "./config.ts";
import { imagesHandlers } from "./handlers.ts";
import { listen } from "./http/listen.ts";
import { createOciServer } from "./http/oci-server.ts";
import { openObjects } from "./store/open-objects.ts";
import { openStore } from "./store/open-store.ts";
import { redisBlobHolders } from "./store/redis-blob-holders.ts";
import { UploadSessions } from "./store/upload-sessions.ts";
import type { Uploads } from "./store/uploads.ts";

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
  const store = openStore({
    objects: await openObjects(config, lifecycle),
    sessions: new UploadSessions(redis, { ttlMs }),
    maxBlobBytes: config.REGISTRY_MAX_BLOB_BYTES,
    clock,
    random,
    graceMs: config.REGISTRY_GRACE_SECONDS * 1_000,
  });
  const running = expireUploads(store.uploads, { ttlMs, clock, signal: lifecycle.signal, logger });
  lifecycle.add("upload expiry", { running }, (expiry) => expiry.running);

  const leases = new RedisLeases(redis, { clock, random });
  startCollection({ store, config, leases, observer: logCollection(logger), clock, logger }, lifecycle);

  const auth = await startAuth(config, lifecycle, { redis, logger, clock, uploads: store.uploads });
  const http = await listen(
    createOciServer({ ...store, ...auth, holders: redisBlobHolders(redis), logger }),
    config.REGISTRY_HTTP_ADDRESS,
  );
  lifecycle.add("http", http, (it) => it.close());

  const add = (to: RpcServer) => auth.addTo(to.add(ImagesDefinition, imagesHandlers({ ...store, authorise })));
  if (server !== undefined) {
    add(server);
    return { address: "", httpAddress: http.address };
  }
  const own = lifecycle.add("grpc", add(new RpcServer({ logger })), (it) => it.close());
  return { address: await own.listen(config.REGISTRY_ADDRESS), httpAddress: http.address };
}

/** Who may do what: everyone on this machine, or whoever logs in. */
async function startAuth(
  config: RegistryConfig,
  lifecycle: Lifecycle,
  { uploads, ...deps }: { redis: Redis; logger: Logger; clock: Clock; uploads: Uploads },
): Promise<Auth> {
  if (config.REGISTRY_AUTH === "none") return { access: openAccess, addTo: (server) => server };
  const { rec: log } = await openStreams(await connectNats(config, lifecycle));
  return await openAuth({
    ...deps,
    log,
    signal: lifecycle.signal,
    publicUrl: config.REGISTRY_PUBLIC_URL,
    uploadOwner: uploads.owner.bind(uploads),
  });
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
