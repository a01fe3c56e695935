import { join } from "node:path";
import { type AccountKind, AccountsDefinition, type RepositoryAction } from "#contracts/registry/v1/accounts";
import { QuotasDefinition } from "#contracts/registry/v1/quotas";
import { type Clock, systemClock } from "#libs/clock";
import { Lifecycle } from "#libs/lifecycle";
import { createRpcClient, type RpcClient } from "#libs/rpc";
import { startNats, startRedis, temporaryFolder } from "#libs/testing";
import { readRegistryConfig } from "../config.ts";
import { startRegistry } from "../service.ts";
import { basicLogin, RegistryUser } from "./registry-user.ts";
import { startRoundRobin } from "./round-robin.ts";

export interface ClusterOptions {
  readonly replicas?: number;
  readonly settings?: NodeJS.ProcessEnv;
  readonly clock?: Clock;
}

/** Replicas of the registry over one store, with logins, behind one address that takes turns; for tests. */
export async function startRegistryCluster(options: ClusterOptions = {}) {
  const ending = new AsyncDisposableStack();
  const folder = ending.use(temporaryFolder());
  const nats = ending.use(await startNats());
  const redis = ending.use(await startRedis());
  const lifecycle = ending.adopt(new Lifecycle(), (it) => it.close());
  // Deep enough to see what would be written beside it.
  const data = join(folder.path, "registry", "store");
  const env = { REGISTRY_DATA: data, NATS_URL: nats.url, REDIS_URL: redis.url };
  const started = await startReplicas(env, lifecycle, options);
  const urls = started.map(({ httpAddress }) => `http://${httpAddress}`);
  const { url } = ending.use(await startRoundRobin(urls));
  const rpcAddress = started[0]?.address ?? "";
  const accounts = ending.adopt(createRpcClient(AccountsDefinition, rpcAddress), (it) => it.close());
  return {
    url,
    urls,
    rpcAddress,
    rpcAddresses: started.map(({ address }) => address),
    accounts,
    quotas: ending.adopt(createRpcClient(QuotasDefinition, rpcAddress), (it) => it.close()),
    nats,
    redis,
    data,
    ...accountMakers(url, accounts),
    [Symbol.asyncDispose]: () => ending.disposeAsync(),
  };
}

async function startReplicas(
  env: NodeJS.ProcessEnv,
  lifecycle: Lifecycle,
  { replicas = 1, settings = {}, clock = systemClock }: ClusterOptions,
) {
  const config = readRegistryConfig({
    LOG_LEVEL: "silent",
    REGISTRY_AUTH: "token",
    REGISTRY_HTTP_ADDRESS: "127.0.0.1:0",
    REGISTRY_ADDRESS: "127.0.0.1:0",
    ...env,
    ...settings,
  });
  const started = [await startRegistry(config, lifecycle, { clock })];
  for (let more = 1; more < replicas; more += 1) started.push(await startRegistry(config, lifecycle, { clock }));
  return started;
}

/** What makes accounts of the registry at that address. */
export function accountMakers(url: string, accounts: RpcClient<AccountsDefinition>) {
  /** Makes a robot with these rights, such as `team-a/*` to `["PULL"]`. */
  const robot = async (name: string, rights: Readonly<Record<string, readonly Action[]>>): Promise<Login> => {
    const { secret } = await accounts.createAccount({
      name: `registry/accounts/${name}`,
      kind: "ACCOUNT_KIND_ROBOT" satisfies AccountKind,
      rights: Object.entries(rights).map(([repositories, actions]) => ({
        repositories,
        actions: actions.map((action): RepositoryAction => `REPOSITORY_ACTION_${action}`),
      })),
    });
    return { name, secret };
  };
  const asUser = (account: Login) => new RegistryUser(url, account);
  return {
    robot,
    asUser,
    /** Makes such a robot and a client that logs in as it. */
    user: async (...account: Parameters<typeof robot>) => asUser(await robot(...account)),
    /** Makes a user who may pull and push there, and gives the header that logs in as it. */
    async login(name: string, repositories: string) {
      const { secret } = await accounts.createAccount({
        name: `registry/accounts/${name}`,
        kind: "ACCOUNT_KIND_USER" satisfies AccountKind,
        rights: [{ repositories, actions: ["REPOSITORY_ACTION_PULL", "REPOSITORY_ACTION_PUSH"] }],
      });
      return basicLogin(name, secret);
    },
  };
}

interface Login {
  readonly name: string;
  readonly secret: string;
}

type Action = "PULL" | "PUSH" | "DELETE";

export type RegistryCluster = Awaited<ReturnType<typeof startRegistryCluster>>;
