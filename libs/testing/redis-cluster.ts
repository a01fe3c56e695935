import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { eventually } from "./eventually.ts";
import { loopback, type Place } from "./place.ts";
import { startServer, type TestServer } from "./test-server.ts";

const MASTER = "stillpoint";

/** Three Redis servers, one of them the primary, and three sentinels that make another one primary when it is gone. */
export interface RedisCluster extends AsyncDisposable {
  readonly servers: readonly TestServer[];
  readonly sentinels: readonly TestServer[];
  /** Of the sentinels, for REDIS_URL. */
  readonly url: string;
  /** The one that most sentinels call the primary. */
  primary(): Promise<TestServer>;
  /** Waits until the primary has two replicas that follow it. */
  untilWhole(deadlineMs?: number): Promise<void>;
}

/** A server and a sentinel in each place, all on the loopback if unsaid. */
export async function startRedisCluster(
  places: readonly Place[] = [loopback, loopback, loopback],
): Promise<RedisCluster> {
  await using stack = new AsyncDisposableStack();
  const servers: TestServer[] = [];
  for (const place of places) servers.push(stack.use(await startNode(place, servers[0])));
  const sentinels = await Promise.all(places.map((place) => startSentinel(place, servers[0]?.url ?? "")));
  for (const sentinel of sentinels) stack.use(sentinel);
  const primary = async () => {
    const named = await Promise.all(sentinels.map(primaryBy));
    const counts = servers.map(({ url }) => named.filter((it) => it === url).length);
    const found = servers[counts.findIndex((count) => count > sentinels.length / 2)];
    if (found === undefined) throw new Error(`the sentinels disagree: ${named.join(", ")}`);
    return found;
  };
  const untilWhole = async (deadlineMs = 30_000) => {
    await eventually(async () => (await followers(await primary())) === servers.length - 1, {
      deadlineMs,
      everyMs: 100,
    });
  };
  await untilWhole();
  const owned = stack.move();
  return {
    ...{ servers, sentinels, primary, untilWhole },
    url: `redis+sentinel://${sentinels.map(({ url }) => new URL(url).host).join(",")}/${MASTER}`,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function startNode(place: Place, primary: TestServer | undefined): Promise<TestServer> {
  const command = async (port: number, folder: string) => {
    const file = join(folder, "redis.conf");
    const text = [
      ...[`bind ${place.address}`, `port ${port}`, `dir ${folder}`, 'save ""', "appendonly yes", "protected-mode no"],
      ...["min-replicas-to-write 1", "min-replicas-max-lag 2", "repl-diskless-sync-delay 0", "repl-timeout 5"],
      ...(primary === undefined ? [] : [`replicaof ${new URL(primary.url).hostname} ${primary.port}`]),
    ];
    await writeFile(file, `${text.join("\n")}\n`);
    return ["redis-server", file];
  };
  return startServer("redis", command, { place });
}

function startSentinel(place: Place, primaryUrl: string): Promise<TestServer> {
  const { hostname, port: primaryPort } = new URL(primaryUrl);
  const command = async (port: number, folder: string) => {
    const file = join(folder, "sentinel.conf");
    const text = [
      ...[`bind ${place.address}`, `port ${port}`, `dir ${folder}`, "protected-mode no"],
      `sentinel monitor ${MASTER} ${hostname} ${primaryPort} 2`,
      `sentinel down-after-milliseconds ${MASTER} 1000`,
      `sentinel failover-timeout ${MASTER} 4000`,
    ];
    await writeFile(file, `${text.join("\n")}\n`);
    return ["redis-server", file, "--sentinel"];
  };
  return startServer("redis", command, { place });
}

async function asked<Answer>(url: string, question: (redis: Redis) => Promise<Answer>): Promise<Answer> {
  const redis = new Redis(url, {
    lazyConnect: true,
    maxRetriesPerRequest: 0,
    commandTimeout: 1_000,
    retryStrategy: () => null,
  });
  redis.on("error", () => undefined);
  try {
    return await question(redis);
  } finally {
    redis.disconnect();
  }
}

const primaryBy = ({ url }: TestServer): Promise<string> =>
  asked(url, async (sentinel) => {
    const [host, port] = (await sentinel.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)) as [string, string];
    return `redis://${host}:${port}`;
  }).catch(() => "");

/** How many replicas follow it and are up to date. */
const followers = ({ url }: TestServer): Promise<number> =>
  asked(
    url,
    async (redis) => [...(await redis.info("replication")).matchAll(/^slave\d+:.*state=online.*lag=[01]\b/gm)].length,
  );
