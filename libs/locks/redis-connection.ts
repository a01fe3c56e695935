import { Redis } from "ioredis";
import type { Lifecycle } from "#libs/lifecycle";
import { ownIdentity } from "#libs/tls";
import { parseSentinelUrl, sentinelConnector } from "./sentinel-connector.ts";

interface ConnectionOptions {
  /** redis://127.0.0.1:6379, or redis+sentinel://h1:26379,h2:26379,h3:26379/name */
  readonly url: string;
  /** Told about connection errors, at most once for each outage. */
  readonly onError?: (error: Error) => void;
}

const COMMAND_WITHIN_MS = 500;
const LONGEST_PAUSE_MS = 1_000;
/** A server that was cut off says nothing and closes nothing. */
const SILENT_FOR_MS = 2_000;
/** It is no longer the primary, or one that was left alone: another may be by now. */
const notPrimary = /^(READONLY|NOREPLICAS)/;

/**
 * Connects to Redis for leases and job state. A command fails at once while Redis is away, and is never sent twice:
 * the defaults would queue it and run a script again after a reconnect, which could take a lease that was given back.
 * The connection repairs itself for ever; its errors never end the process.
 */
function openRedis({ url, onError }: ConnectionOptions): Redis {
  const redis = redisAt(url);
  let told = false;
  redis.on("ready", () => {
    told = false;
  });
  redis.on("error", (error: Error) => {
    if (!told) onError?.(error);
    told = true;
  });
  return redis;
}

/** Whether what is written there is on other servers too, soon. */
export const isReplicated = ({ options }: Redis): boolean => options.Connector !== undefined;

function redisAt(url: string): Redis {
  const tls = tlsFor(url);
  const secured = { ...behaviour, ...(tls && { tls }) };
  const sentinels = parseSentinelUrl(url);
  if (sentinels === undefined) return new Redis(url, secured);
  const { username, password } = sentinels;
  const user = { ...(username !== undefined && { username }), ...(password !== undefined && { password }) };
  return new Redis({ ...secured, ...user, Connector: sentinelConnector(sentinels, tls) });
}

const behaviour = {
  maxRetriesPerRequest: 0,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  commandTimeout: COMMAND_WITHIN_MS,
  socketTimeout: SILENT_FOR_MS,
  enableAutoPipelining: true,
  connectTimeout: 2_000,
  retryStrategy: (attempt: number) => Math.min(50 * 2 ** Math.min(attempt, 6), LONGEST_PAUSE_MS),
  reconnectOnError: (error: Error) => notPrimary.test(error.message),
};

/** `rediss://` shows our certificate; getters, as ioredis reads them anew for each connection: certificates are renewed. */
function tlsFor(url: string) {
  const identity = url.startsWith("rediss") ? ownIdentity() : undefined;
  if (identity === undefined) return undefined;
  return {
    get ca() {
      return identity.pem.ca;
    },
    get cert() {
      return identity.pem.cert;
    },
    get key() {
      return identity.pem.key;
    },
  };
}

/** The service's Redis connection, closed with it. Resolves when connected, or after 2 s without: Redis may come later. */
export async function connectRedis(config: { readonly REDIS_URL: string }, lifecycle: Lifecycle): Promise<Redis> {
  const redis = lifecycle.add("redis connection", openRedis({ url: config.REDIS_URL }), (opened) =>
    opened.disconnect(),
  );
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, 2_000);
    redis.once("ready", () => {
      clearTimeout(timer);
      resolve();
    });
  });
  return redis;
}
