import { connect as connectTcp, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { AbstractConnector, Redis, type RedisOptions } from "ioredis";

/** Sentinels that know which server is the primary. */
export interface SentinelUrl {
  readonly sentinels: readonly { readonly host: string; readonly port: number }[];
  /** Of what they watch. */
  readonly name: string;
  /** For the sentinels and the servers alike. */
  readonly username?: string;
  readonly password?: string;
}

const form = /^rediss?\+sentinel:\/\/(?:([^:@/]*):([^@/]*)@)?([^/@]+)\/([\w.-]+)$/;
const SENTINEL_PORT = 26_379;
const ANSWER_WITHIN_MS = 1_000;
const AGAIN_MS = 300;

/** Reads `redis+sentinel://user:password@h1:26379,h2:26379,h3:26379/name`; undefined when it is another kind of URL. */
export function parseSentinelUrl(url: string): SentinelUrl | undefined {
  const [matches, user = "", secret = "", hosts = "", name = ""] = form.exec(url) ?? [];
  if (matches === undefined) return undefined;
  const sentinels = hosts.split(",").map((host) => {
    const { hostname, port } = new URL(`redis://${host}`);
    return { host: hostname, port: Number(port) || SENTINEL_PORT };
  });
  const username = user === "" ? {} : { username: decodeURIComponent(user) };
  const password = secret === "" ? {} : { password: decodeURIComponent(secret) };
  return { sentinels, name, ...username, ...password };
}

type Tls = NonNullable<RedisOptions["tls"]>;

/**
 * Finds the primary anew for each connection: of what the sentinels say, by the one that knows of the latest failover.
 * ioredis's own connector believes the first that answers, which may be alone with the old primary.
 */
export function sentinelConnector(url: SentinelUrl, tls: Tls | undefined) {
  return class SentinelConnector extends AbstractConnector {
    constructor() {
      super(ANSWER_WITHIN_MS);
    }

    /** Goes on until a sentinel answers: when this fails, the client ends for good. */
    async connect(emit: (type: "error", error: Error) => void): Promise<Socket | TLSSocket> {
      this.connecting = true;
      let primary: Primary | undefined;
      while (primary === undefined) {
        primary = await findPrimary(url, tls).catch((error: Error) => {
          emit("error", error);
          return undefined;
        });
        if (!this.connecting) throw new Error("the connection was closed");
        if (primary === undefined) await sleep(AGAIN_MS);
      }
      const stream = tls === undefined ? connectTcp(primary) : connectTls({ ...tls, ...primary });
      stream.once("error", (error) => {
        this.firstError = error;
      });
      this.stream = stream;
      return stream;
    }
  };
}

interface Primary {
  readonly host: string;
  readonly port: number;
  readonly epoch: number;
}

/** Fails when no sentinel answers. */
async function findPrimary(url: SentinelUrl, tls: Tls | undefined): Promise<Primary> {
  const answers = await Promise.allSettled(url.sentinels.map((sentinel) => ask({ ...url, ...sentinel }, tls)));
  const found = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
  const [newest] = found.toSorted((one, other) => other.epoch - one.epoch);
  if (newest !== undefined) return newest;
  const causes = answers.map((answer) => (answer.status === "rejected" ? (answer.reason as unknown) : undefined));
  throw new AggregateError(causes, `no sentinel tells where the primary of ${url.name} is`);
}

async function ask(
  { name, host, port, username, password }: SentinelUrl & { readonly host: string; readonly port: number },
  tls: Tls | undefined,
): Promise<Primary> {
  const sentinel = new Redis({
    ...{ host, port, protocol: 2, lazyConnect: true, retryStrategy: () => null, enableReadyCheck: false },
    ...{ maxRetriesPerRequest: 0, connectTimeout: ANSWER_WITHIN_MS, commandTimeout: ANSWER_WITHIN_MS },
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(tls && { tls }),
  });
  sentinel.on("error", () => undefined);
  try {
    const fields = (await sentinel.call("SENTINEL", "MASTER", name)) as string[];
    const field = (key: string) => fields[fields.indexOf(key) + 1] ?? "";
    return { host: field("ip"), port: Number(field("port")), epoch: Number(field("config-epoch")) };
  } finally {
    sentinel.disconnect();
  }
}
