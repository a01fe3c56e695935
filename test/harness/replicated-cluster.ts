import { randomBytes } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import {
  freePort,
  loopback,
  type NatsCluster,
  type RedisCluster,
  startNats,
  startRedis,
  type TestServer,
  temporaryFolder,
} from "#libs/testing";
import {
  type Api,
  type ControlPlaneService,
  connectApi,
  controlPlane,
  untilHostsReady,
  untilListening,
} from "./api.ts";
import { repository } from "./command.ts";
import { startProxy } from "./proxy.ts";
import { findQemus } from "./qemu-process.ts";
import { SupervisedProcess } from "./supervised-process.ts";

/** One of several processes that do the same. */
export interface Replica {
  /** vm-1 */
  readonly name: string;
  /** Where it alone answers gRPC, past the proxy. */
  readonly address: string;
  /** Its death, its pause (SIGSTOP, SIGCONT), and whether it is started again when it is dead. */
  readonly process: SupervisedProcess;
}

export interface ClusterHost {
  readonly name: string;
  /** The agent's folder. */
  readonly data: string;
  /** Where the agent answers. */
  readonly address: string;
  readonly agent: SupervisedProcess;
}

type Environment = Readonly<Record<string, string>>;

export interface ReplicatedOptions {
  /** Of every service; 2 if unsaid. */
  readonly replicas?: number;
  /** Of these services, so many. */
  readonly replicasOf?: Partial<Readonly<Record<ControlPlaneService, number>>>;
  /** Names of the hosts, an agent each; n1 and n2 if unsaid. */
  readonly hosts?: readonly string[];
  /** Whether NATS syncs each write, as in production, or when it likes, its own default; it does if unsaid. */
  readonly syncAlways?: boolean;
  /** Added to every process's environment. */
  readonly env?: Environment;
  /** Added to that of one replica ("vm-1") or host ("n1"); asked at each of its starts. */
  readonly envOf?: (name: string) => Environment;
  /** Nodes, which the caller ends, instead of a server that the cluster starts. */
  readonly nats?: Pick<NatsCluster, "nodes" | "url"> & { readonly monitorUrl?: string };
  /** Servers, with sentinels where there are several, likewise. */
  readonly redis?: Pick<RedisCluster, "servers" | "url">;
  /** Whether services are started as their images start them, with Node's settings of production. */
  readonly isDeployed?: boolean;
  /** Where the code of one is, if not in this working copy; asked at each of its starts, so that it may change. */
  readonly rootOf?: (name: string) => string | undefined;
}

/**
 * Several replicas of every service behind nginx, and several agents, each a process that is started again when it
 * dies; all on the loopback of this machine, with real NATS and Redis.
 */
export interface ReplicatedCluster extends AsyncDisposable {
  readonly folder: string;
  /** Of the proxy: gRPC of all services. */
  readonly address: string;
  readonly registryUrl: string;
  /** The first node where there are three. */
  readonly nats: TestServer;
  /** The first server where there are three. */
  readonly redis: TestServer;
  readonly proxy: SupervisedProcess;
  readonly replicas: Readonly<Record<ControlPlaneService, readonly Replica[]>>;
  readonly hosts: ReadonlyMap<string, ClusterHost>;
  /** Clients through the proxy. */
  readonly api: Api;
  /** One more host. Resolves at once: wait for `untilHostsReady`. */
  addHost(name: string, env?: Environment): Promise<ClusterHost>;
}

/** Starts it and waits until its hosts are ready. */
export async function startReplicatedCluster(options: ReplicatedOptions = {}): Promise<ReplicatedCluster> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(temporaryFolder()).path;
  // Guests outlive their agents.
  stack.defer(async () => {
    for (const { pid } of await findQemus(folder)) process.kill(pid, "SIGKILL");
  });
  const nats = options.nats?.nodes[0] ?? stack.use(await startNats({ syncAlways: options.syncAlways ?? true }));
  const redis = options.redis?.servers[0] ?? stack.use(await startRedis());
  const ports = { port: await freePort(), registryPort: await freePort(), healthPort: await freePort() };
  const address = `127.0.0.1:${ports.port}`;
  const registryUrl = `http://127.0.0.1:${ports.registryPort}`;
  const common = {
    NATS_URL: options.nats?.url ?? nats.url,
    REDIS_URL: options.redis?.url ?? redis.url,
    ...(options.nats?.monitorUrl !== undefined && { NATS_MONITOR_URL: options.nats.monitorUrl }),
    STILLPOINT_ADDRESS: address,
    REGISTRY_HTTP_URL: registryUrl,
  };
  const stage: Stage = { options, folder, common: { ...common, ...fixed(folder), ...options.env } };

  const { replicas, upstreams } = await startReplicas(stage, stack);
  const proxy = stack.use(await startProxy({ place: loopback, folder: join(folder, "proxy"), upstreams, ...ports }));
  const hosts = new Map<string, ClusterHost>();
  const addHost = async (name: string, env: Environment = {}) => {
    const host = await startHost(stage, name, { ...env, AGENT_QEMU_UID: `${200_000 + 10_000 * hosts.size}` });
    stack.use(host.agent);
    hosts.set(name, host);
    return host;
  };
  for (const name of options.hosts ?? ["n1", "n2"]) await addHost(name);
  const api = connectApi(sameForAll(address));
  await untilListening(Object.values(upstreams).flat());
  await untilHostsReady(api.hosts, hosts.size);
  const owned = stack.move();
  return {
    ...{ folder, address, registryUrl, nats, redis, proxy, replicas, hosts, api, addHost },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

interface Stage {
  readonly options: ReplicatedOptions;
  readonly folder: string;
  /** The environment of every process. */
  readonly common: Environment;
}

const fixed = (folder: string): Environment => ({
  LOG_LEVEL: "info",
  OPERATION_TTL_MS: "1000",
  REGISTRY_DATA: join(folder, "registry"),
  STILLPOINT_SECRETS_KEY: randomBytes(32).toString("base64"),
});

const sameForAll = (address: string) =>
  Object.fromEntries(controlPlane.map((name) => [name, address])) as Record<ControlPlaneService, string>;

/** Starts all, and tells the proxy where each is. */
async function startReplicas(stage: Stage, stack: AsyncDisposableStack) {
  const replicas = {} as Record<ControlPlaneService, Replica[]>;
  const upstreams: Record<string, string[]> = { "registry-http": [] };
  for (const service of controlPlane) {
    replicas[service] = [];
    const count = stage.options.replicasOf?.[service] ?? stage.options.replicas ?? 2;
    for (let number = 1; number <= count; number++) {
      const name = `${service}-${number}`;
      const address = `127.0.0.1:${await freePort()}`;
      const http = `127.0.0.1:${await freePort()}`;
      const own = {
        [`${service.toUpperCase()}_ADDRESS`]: address,
        ...(service === "registry" && { REGISTRY_HTTP_ADDRESS: http }),
      };
      replicas[service].push({ name, address, process: stack.use(startProcess(stage, service, name, own)) });
      if (service === "registry") upstreams["registry-http"]?.push(http);
    }
    upstreams[service] = replicas[service].map(({ address }) => address);
  }
  return { replicas, upstreams };
}

async function startHost(stage: Stage, name: string, env: Environment): Promise<ClusterHost> {
  const data = join(stage.folder, name);
  const address = `unix:${join(stage.folder, `${name}.sock`)}`;
  await mkdir(data, { mode: 0o700 });
  const own = { AGENT_HOST_NAME: name, AGENT_DATA: data, AGENT_ADDRESS: address, AGENT_DOCKER_HOST: "none", ...env };
  return { name, data, address, agent: startProcess(stage, "agent", name, own) };
}

function startProcess({ options, folder, common }: Stage, service: string, name: string, own: Environment) {
  const what = () => {
    const root = options.rootOf?.(name) ?? repository;
    const settings = { ...common, ...own, ...options.envOf?.(name) };
    if (options.isDeployed === true) {
      const env = { ...settings, STILLPOINT_SERVICE: service, STILLPOINT_ROOT: root };
      return { argv: [join(root, "deploy/image/start")], env };
    }
    return { argv: [process.execPath, join(root, "services", service, "main.ts")], env: settings };
  };
  return SupervisedProcess.run(what, join(folder, `${name}.log`));
}
