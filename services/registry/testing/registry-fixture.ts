import { Lifecycle } from "#libs/lifecycle";
import { startRedis, temporaryFolder } from "#libs/testing";
import { readRegistryConfig } from "../config.ts";
import { startRegistry } from "../service.ts";

/** A registry in this process, on free ports, with its data in `folder`; for tests. */
export async function startTestRegistry(settings: NodeJS.ProcessEnv = {}) {
  const folder = temporaryFolder();
  const lifecycle = new Lifecycle();
  const redis = await startRedis();
  const config = readRegistryConfig({
    LOG_LEVEL: "silent",
    REGISTRY_HTTP_ADDRESS: "127.0.0.1:0",
    REGISTRY_ADDRESS: "127.0.0.1:0",
    REGISTRY_DATA: folder.path,
    REDIS_URL: redis.url,
    REGISTRY_EVENTS: "none",
    ...settings,
  });
  const { address, httpAddress } = await startRegistry(config, lifecycle);
  return {
    address,
    httpAddress,
    data: folder.path,
    redis,
    url: `http://${httpAddress}`,
    async [Symbol.asyncDispose]() {
      await lifecycle.close();
      await redis[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}
