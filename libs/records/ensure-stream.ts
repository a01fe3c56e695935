import { setTimeout as sleep } from "node:timers/promises";
import { JetStreamApiError, type JetStreamManager, type StreamConfig, type StreamInfo } from "@nats-io/jetstream";
import { NoRespondersError, TimeoutError } from "@nats-io/transport-node";

type Config = Partial<StreamConfig> & { readonly name: string };

/** "stream not found" (server/errors.json). */
const NOT_FOUND = 10_059;
const PATIENCE_MS = 30_000;
const AGAIN_MS = 500;

/**
 * Makes the stream; of one that exists, only the number of servers that keep it is raised. Safe to run in several
 * processes at once. Waits for half a minute while a cluster has no leader. True when this call has made it.
 */
export async function ensureStream(manager: JetStreamManager, config: Config): Promise<boolean> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await makeOrRaise(manager, config);
    } catch (cause) {
      if (performance.now() > end || !isForNow(cause))
        throw new Error(`stream ${config.name} cannot be made`, { cause });
    }
    await sleep(AGAIN_MS);
  }
}

async function makeOrRaise(manager: JetStreamManager, config: Config): Promise<boolean> {
  const info = await find(manager, config.name);
  if (info !== undefined) {
    await raise(manager, info, config);
    return false;
  }
  try {
    await manager.streams.add(config);
    return true;
  } catch (error) {
    // Another process may have been faster, with the same configuration.
    if ((await find(manager, config.name)) === undefined) throw error;
    return false;
  }
}

async function find(manager: JetStreamManager, name: string): Promise<StreamInfo | undefined> {
  try {
    return await manager.streams.info(name);
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === NOT_FOUND) return undefined;
    throw error;
  }
}

async function raise(
  manager: JetStreamManager,
  { config }: StreamInfo,
  { name, num_replicas = 1 }: Config,
): Promise<void> {
  if (config.num_replicas < num_replicas) await manager.streams.update(name, { ...config, num_replicas });
}

/** A cluster that elects a leader is silent, or answers 503. */
function isForNow(error: unknown): boolean {
  return isSilence(error) || (error instanceof JetStreamApiError && error.status === 503);
}

/** No server heard it, or none answered. */
export function isSilence(error: unknown): boolean {
  return (
    error instanceof TimeoutError ||
    error instanceof NoRespondersError ||
    (error instanceof Error && error.name === "JetStreamNotEnabled")
  );
}
