import { join } from "node:path";
import type { Lifecycle } from "#libs/lifecycle";
import { createLogger } from "#libs/logger";
import { RpcServer } from "#libs/rpc";
import type { ServerUrls } from "./servers.ts";

/** In the order in which they start; what a service needs while it starts comes before it. */
const sharedPort = ["operation", "scheduler", "vm", "checkpoint", "registry"] as const;

export interface ServicesOptions {
  readonly folder: string;
  /** Of the one gRPC port. */
  readonly address: string;
  readonly registryAddress: string;
  readonly urls: ServerUrls;
}

/**
 * Starts every service in this process, by the same function and configuration as its main.ts does. All share one
 * gRPC port but the agent, which is reached over its own socket as on any other host.
 */
export async function startServices(lifecycle: Lifecycle, options: ServicesOptions): Promise<void> {
  const env = environment(options);
  const server = new RpcServer({ logger: createLogger({ name: "dev" }) });
  for (const name of sharedPort) await startService(name, env, lifecycle, { server });
  await server.listen(options.address);
  lifecycle.add("grpc", server, (it) => it.close());
  await startService("agent", env, lifecycle, {});
}

type Environment = Readonly<Record<string, string | undefined>>;

/** What each service's config.ts reads. */
function environment({ folder, address, registryAddress, urls }: ServicesOptions): Environment {
  return {
    ...process.env,
    ...urls,
    STILLPOINT_ADDRESS: address,
    REGISTRY_HTTP_ADDRESS: registryAddress,
    REGISTRY_DATA: join(folder, "registry"),
    AGENT_ADDRESS: `unix:${join(folder, "agent.sock")}`,
    AGENT_DATA: join(folder, "host"),
    REGISTRY_HTTP_URL: `http://${registryAddress}`,
  };
}

type ReadConfig = (env: Environment) => unknown;
type Start = (config: unknown, lifecycle: Lifecycle, options: { server?: RpcServer }) => Promise<unknown>;

/** services/<name>/config.ts has read<Name>Config, services/<name>/service.ts has start<Name>. */
async function startService(
  name: string,
  env: Environment,
  lifecycle: Lifecycle,
  options: { server?: RpcServer },
): Promise<void> {
  const Name = name.charAt(0).toUpperCase() + name.slice(1);
  const [config, service]: [Record<string, ReadConfig>, Record<string, Start>] = await Promise.all([
    import(`../../services/${name}/config.ts`),
    import(`../../services/${name}/service.ts`),
  ]);
  const readConfig = config[`read${Name}Config`];
  const start = service[`start${Name}`];
  if (readConfig === undefined || start === undefined)
    throw new Error(`services/${name} lacks read${Name}Config or start${Name}`);
  await start(readConfig(env), lifecycle, options);
}
