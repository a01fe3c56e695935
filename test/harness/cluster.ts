import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type HostAgentClient, HostAgentDefinition } from "#contracts/host/v1/agent";
import { createRpcClient } from "#libs/rpc";
import { freePort, startNats, startRedis, type TestServer, temporaryFolder } from "#libs/testing";
import { type Api, connectApi, controlPlane, untilHostsReady } from "./api.ts";
import { repository } from "./command.ts";
import { SupervisedProcess } from "./supervised-process.ts";

export const serviceNames = [...controlPlane, "agent"] as const;
export type ServiceName = (typeof serviceNames)[number];

/** Every service as its own process through its `main.ts`, started again whenever it dies; real NATS and Redis. */
export interface Cluster extends AsyncDisposable {
  readonly folder: string;
  /** The agent's data folder. */
  readonly agentData: string;
  readonly nats: TestServer;
  readonly redis: TestServer;
  readonly registryUrl: string;
  /** Of the operation service. */
  readonly operationAddress: string;
  readonly services: Readonly<Record<ServiceName, SupervisedProcess>>;
  readonly api: Api & { readonly agent: HostAgentClient };
}

/** Starts it and waits until its host is ready. `env` is added to every service's environment. */
export async function startCluster(env: Readonly<Record<string, string>> = {}): Promise<Cluster> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(temporaryFolder()).path;
  const nats = stack.use(await startNats({ syncAlways: true }));
  const redis = stack.use(await startRedis());
  const { environment, addresses } = await settings(folder, nats.url, redis.url);
  const services = Object.fromEntries(
    serviceNames.map((name) => {
      const script = join(repository, "services", name, "main.ts");
      const log = join(folder, `${name}.log`);
      return [name, stack.use(SupervisedProcess.start(script, { ...environment, ...env }, log))];
    }),
  ) as Record<ServiceName, SupervisedProcess>;
  const agent: HostAgentClient = createRpcClient(HostAgentDefinition, environment.AGENT_ADDRESS);
  const api = { ...connectApi(addresses), agent };
  await untilHostsReady(api.hosts, 1);
  const owned = stack.move();
  return {
    folder,
    agentData: env.AGENT_DATA ?? environment.AGENT_DATA,
    nats,
    redis,
    services,
    api,
    registryUrl: environment.REGISTRY_HTTP_URL,
    operationAddress: addresses.operation,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function settings(folder: string, natsUrl: string, redisUrl: string) {
  const port = async () => `127.0.0.1:${await freePort()}`;
  const http = await port();
  const addresses = {
    operation: await port(),
    scheduler: await port(),
    registry: await port(),
    vm: await port(),
    container: await port(),
    checkpoint: await port(),
  };
  await mkdir(join(folder, "agent"), { mode: 0o700 });
  const environment = {
    NATS_URL: natsUrl,
    REDIS_URL: redisUrl,
    // There is no proxy: of the others it is the operation service alone that is asked there.
    STILLPOINT_ADDRESS: addresses.operation,
    LOG_LEVEL: "info",
    OPERATION_TTL_MS: "1000",
    OPERATION_ADDRESS: addresses.operation,
    SCHEDULER_ADDRESS: addresses.scheduler,
    REGISTRY_ADDRESS: addresses.registry,
    VM_ADDRESS: addresses.vm,
    CONTAINER_ADDRESS: addresses.container,
    CHECKPOINT_ADDRESS: addresses.checkpoint,
    REGISTRY_HTTP_ADDRESS: http,
    REGISTRY_HTTP_URL: `http://${http}`,
    REGISTRY_DATA: join(folder, "registry"),
    AGENT_DATA: join(folder, "agent"),
    AGENT_ADDRESS: `unix:${join(folder, "agent.sock")}`,
    AGENT_HOST_NAME: "n1",
    STILLPOINT_SECRETS_KEY: randomBytes(32).toString("base64"),
  };
  return { environment, addresses };
}
