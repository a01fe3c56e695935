import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { HostsDefinition } from "#contracts/scheduler/v1/scheduler";
import { StillpointError } from "#libs/errors";
import type { Lifecycle } from "#libs/lifecycle";
import { createLogger } from "#libs/logger";
import { connectNats, natsHealth } from "#libs/records";
import { createRpcClient, RpcServer } from "#libs/rpc";
import { readKeyFile } from "#libs/secrets";
import type { ServerUrls } from "./servers.ts";

export interface ServicesOptions {
  readonly folder: string;
  /** Of the one gRPC port. */
  readonly address: string;
  readonly registryAddress: string;
  readonly urls: ServerUrls;
}

/**
 * Starts every service in this process, by the same function and configuration as its main.ts does. All share one
 * gRPC port but the agent, which listens on its own socket as on any other host. Resolves when VMs can be placed.
 */
export async function startServices(lifecycle: Lifecycle, options: ServicesOptions): Promise<void> {
  const env = await environment(options);
  const nats = await connectNats(options.urls, lifecycle);
  const server = new RpcServer({ logger: createLogger({ name: "dev" }), health: natsHealth(nats) });
  for (const start of sharingAPort) await start(env, lifecycle, server);
  await server.listen(options.address);
  lifecycle.add("grpc", server, (it) => it.close());
  await startHostAgent(env, lifecycle);
  await hostReported(options.address, lifecycle.signal);
}

type Environment = Readonly<Record<string, string | undefined>>;

/** What each service's config.ts reads. */
async function environment({ folder, address, registryAddress, urls }: ServicesOptions): Promise<Environment> {
  return {
    STILLPOINT_SECRETS_KEY: await readKeyFile(join(folder, "secrets-key")),
    // One process holds every worker: what a crash left is nobody else's, and need not wait long.
    OPERATION_TTL_MS: "5000",
    ...process.env,
    ...urls,
    STILLPOINT_ADDRESS: address,
    REGISTRY_HTTP_ADDRESS: registryAddress,
    // Installations may share a registry.
    REGISTRY_HTTP_URL: process.env.REGISTRY_HTTP_URL ?? `http://${registryAddress}`,
    REGISTRY_DATA: join(folder, "registry"),
    AGENT_DATA: join(folder, "host"),
    AGENT_ADDRESS: `unix:${join(folder, "agent.sock")}`,
  };
}

type Start = (env: Environment, lifecycle: Lifecycle, server: RpcServer) => Promise<unknown>;

/** In the order in which they start. */
const sharingAPort: readonly Start[] = [
  async (env, lifecycle, server) => {
    const { readOperationConfig } = await import("../../services/operation/config.ts");
    const { startOperation } = await import("../../services/operation/service.ts");
    return startOperation(readOperationConfig(env), lifecycle, { server });
  },
  async (env, lifecycle, server) => {
    const { readSchedulerConfig } = await import("../../services/scheduler/config.ts");
    const { startScheduler } = await import("../../services/scheduler/service.ts");
    return startScheduler(readSchedulerConfig(env), lifecycle, { server });
  },
  async (env, lifecycle, server) => {
    const { readVmConfig } = await import("../../services/vm/config.ts");
    const { startVm } = await import("../../services/vm/service.ts");
    return startVm(readVmConfig(env), lifecycle, { server });
  },
  async (env, lifecycle, server) => {
    const { readContainerConfig } = await import("../../services/container/config.ts");
    const { startContainer } = await import("../../services/container/service.ts");
    return startContainer(readContainerConfig(env), lifecycle, { server });
  },
  async (env, lifecycle, server) => {
    const { readCheckpointConfig } = await import("../../services/checkpoint/config.ts");
    const { startCheckpoint } = await import("../../services/checkpoint/service.ts");
    return startCheckpoint(readCheckpointConfig(env), lifecycle, { server });
  },
  async (env, lifecycle, server) => {
    const { readRegistryConfig } = await import("../../services/registry/config.ts");
    const { startRegistry } = await import("../../services/registry/service.ts");
    return startRegistry(readRegistryConfig(env), lifecycle, { server });
  },
];

async function startHostAgent(env: Environment, lifecycle: Lifecycle): Promise<void> {
  const { readAgentConfig } = await import("../../services/agent/config.ts");
  const { startAgent } = await import("../../services/agent/service.ts");
  await startAgent(readAgentConfig(env), lifecycle);
}

const reportMs = 30_000;
const lookMs = 25;

/** Waits for the host's heartbeat: before it, no VM fits anywhere. An operator's cordon is no reason to wait. */
async function hostReported(address: string, signal: AbortSignal): Promise<void> {
  const hosts = createRpcClient(HostsDefinition, address);
  try {
    for (
      const end = performance.now() + reportMs;
      performance.now() < end;
      await sleep(lookMs, undefined, { signal })
    ) {
      const response = await hosts.listHosts({}, { signal });
      const isThere = response.hosts.some(
        (host) => host.heartbeatTime !== undefined && host.state !== "HOST_STATE_DOWN",
      );
      if (isThere) return;
    }
  } finally {
    hosts.close();
  }
  throw new StillpointError("UNAVAILABLE", "the agent of this host did not report", { help: "Look at the log." });
}
