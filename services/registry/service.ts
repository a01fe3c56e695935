import { ImagesDefinition } from "#contracts/registry/v1/registry";
import { authorise } from "#libs/auth";
import { type Clock, systemClock } from "#libs/clock";
import type { Lifecycle } from "#libs/lifecycle";
import { connectRedis } from "#libs/locks";
import { createLogger, type Logger } from "#libs/logger";
import { RpcServer } from "#libs/rpc";
import type { RegistryConfig } from "./config.ts";
import { imagesHandlers } from "./handlers.ts";
import { listen } from "./http/listen.ts";
import { createOciServer } from "./http/oci-server.ts";
import { openObjects } from "./store/open-objects.ts";
import { openStore } from "./store/open-store.ts";
import { UploadSessions } from "./store/upload-sessions.ts";
import type { Uploads } from "./store/uploads.ts";

const EXPIRY_EVERY_MS = 600_000;

/** Wires the service together. With `server`, the gRPC part is added there and `address` is empty. */
export async function startRegistry(
  config: RegistryConfig,
  lifecycle: Lifecycle,
  { server }: { server?: RpcServer } = {},
): Promise<{ address: string; httpAddress: string }> {
  const logger = createLogger({ name: "registry", level: config.LOG_LEVEL });
  const ttlMs = config.REGISTRY_UPLOAD_TTL_SECONDS * 1_000;
  const store = openStore({
    objects: await openObjects(config, lifecycle),
    sessions: new UploadSessions(await connectRedis(config, lifecycle), { ttlMs }),
    maxBlobBytes: config.REGISTRY_MAX_BLOB_BYTES,
    clock: systemClock,
  });
  const running = expireUploads(store.uploads, { ttlMs, clock: systemClock, signal: lifecycle.signal, logger });
  lifecycle.add("upload expiry", { running }, (expiry) => expiry.running);

  const http = await listen(createOciServer({ ...store, authorise, logger }), config.REGISTRY_HTTP_ADDRESS);
  lifecycle.add("http", http, (it) => it.close());

  const handlers = imagesHandlers({ ...store, authorise });
  if (server !== undefined) {
    server.add(ImagesDefinition, handlers);
    return { address: "", httpAddress: http.address };
  }
  const own = lifecycle.add("grpc", new RpcServer({ logger }).add(ImagesDefinition, handlers), (it) => it.close());
  return { address: await own.listen(config.REGISTRY_ADDRESS), httpAddress: http.address };
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
