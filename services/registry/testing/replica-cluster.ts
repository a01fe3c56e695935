import { readdir, readlink, stat } from "node:fs/promises";
import { join } from "node:path";
import { AccountsDefinition } from "#contracts/registry/v1/accounts";
import { CollectionDefinition } from "#contracts/registry/v1/collection";
import { createRpcClient } from "#libs/rpc";
import { startNats, startRedis, temporaryFolder } from "#libs/testing";
import { accountMakers } from "./registry-cluster.ts";
import { type RegistryReplica, startReplica } from "./registry-replica.ts";
import { startRoundRobin } from "./round-robin.ts";

/** Two replicas in processes of their own, with logins, behind one address that takes turns; for tests that kill. */
export async function startReplicaCluster() {
  await using stack = new AsyncDisposableStack();
  const data = stack.use(temporaryFolder()).path;
  const nats = stack.use(await startNats());
  const redis = stack.use(await startRedis());
  const settings = {
    REGISTRY_DATA: data,
    REGISTRY_AUTH: "token",
    NATS_URL: nats.url,
    REDIS_URL: redis.url,
  };
  const first = stack.use(await startReplica(settings));
  const second = stack.use(await startReplica(settings));
  const { url } = stack.use(await startRoundRobin([first.url, second.url]));
  const accounts = stack.adopt(createRpcClient(AccountsDefinition, first.rpcAddress), (it) => it.close());
  const collection = stack.adopt(createRpcClient(CollectionDefinition, first.rpcAddress), (it) => it.close());
  const replicas = [first, second];
  const ending = stack.move();
  return {
    url,
    host: new URL(url).host,
    collection,
    ...accountMakers(url, accounts),
    /** The replica that has more than a MiB of a piece of an upload, and waits for the rest of it. */
    receiving: async () => (await Promise.all(replicas.map((it) => receives(it, data)))).find((it) => it !== undefined),
    [Symbol.asyncDispose]: () => ending.disposeAsync(),
  };
}

async function receives(replica: RegistryReplica, data: string): Promise<RegistryReplica | undefined> {
  const folder = `/proc/${replica.pid}/fd`;
  for (const fd of await readdir(folder).catch(() => [])) {
    const isNew = (await readlink(join(folder, fd)).catch(() => "")).startsWith(join(data, "tmp"));
    if (isNew && ((await stat(join(folder, fd)).catch(() => undefined))?.size ?? 0) > 2 ** 20) return replica;
  }
  return undefined;
}

export type ReplicaCluster = Awaited<ReturnType<typeof startReplicaCluster>>;
