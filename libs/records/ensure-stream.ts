import { setTimeout as sleep } from "node:timers/promises";
import { JetStreamApiError, type JetStreamManager, type StreamConfig, type StreamInfo } from "@nats-io/jetstream";
import { TimeoutError } from "@nats-io/transport-node";
import { hasNoRoom, isNobodyThere } from "./outage.ts";

type Config = Partial<StreamConfig> & { readonly name: string };
type ConfigOfSubjects = Config & { readonly subjects: string[] };

/** Of a stream that is being made; nobody writes to it. */
const beingMade = (name: string) => `making.${name}`;

/** "stream not found" (server/errors.json). */
const NOT_FOUND = 10_059;
/** "no suitable peers for placement" */
const NO_PEERS = 10_005;
const PATIENCE_MS = 30_000;
const AGAIN_MS = 500;

const tooFew =
  "NATS does not place it on three nodes. Is each healthy, with room for it? If they have just begun for the first time, " +
  'they may not have counted each other (docs/operations.md, "Three nodes of NATS, three of Redis")';
const tooLittle =
  "NATS may keep too little. Raise its max_file_store; if it has none, it takes three quarters of what was free when it " +
  'started (docs/operations.md, "A disk that is full")';

/**
 * Makes the stream; of one that exists, only the number of servers that keep it is raised. Safe to run in several
 * processes at once. Waits for half a minute while a cluster has no leader. True when this call has made it.
 */
export async function ensureStream(manager: JetStreamManager, config: Config): Promise<boolean> {
  return await patiently(config.name, () => makeOrRaise(manager, config));
}

/**
 * The same for a stream whose sequences are never those of an earlier one of its name: they begin at the microseconds
 * since 1970 of its making, and no stream takes a million messages a second. Exact in a double until the year 2255.
 *
 * It has another subject until it begins there, so that no writer comes first. Not by the server's own `first_seq`:
 * nats-server 2.10.27 purges all that such a stream holds when it is restarted before its first message was removed.
 */
export async function ensureGrowingStream(manager: JetStreamManager, config: ConfigOfSubjects): Promise<boolean> {
  return await patiently(config.name, async () => {
    const isMaker = await makeOrRaise(manager, { ...config, subjects: [beingMade(config.name)] });
    const info = await manager.streams.info(config.name);
    if (info.config.subjects[0] !== beingMade(config.name)) return false;
    await begin(manager, info, config.subjects);
    return isMaker;
  });
}

/** Right in several processes at once, and again after any failure: all of them begin at the same sequence. */
async function begin(manager: JetStreamManager, { created, config }: StreamInfo, subjects: string[]): Promise<void> {
  const first = Date.parse(created) * 1_000;
  await manager.streams.purge(config.name, { seq: first });
  const { state } = await manager.streams.info(config.name);
  if (state.first_seq < first) throw new Error(`it begins at ${state.first_seq}, and not at ${first}`);
  await manager.streams.update(config.name, { ...config, subjects });
}

async function patiently(stream: string, attempt: () => Promise<boolean>): Promise<boolean> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await attempt();
    } catch (cause) {
      const why = reasonOf(cause);
      if (why !== undefined) throw new Error(`stream ${stream} cannot be made: ${why}`, { cause });
      if (performance.now() > end || !isForNow(cause)) throw new Error(`stream ${stream} cannot be made`, { cause });
    }
    await sleep(AGAIN_MS);
  }
}

/** Undefined for what has none that is known here. */
function reasonOf(cause: unknown): string | undefined {
  if (hasNoRoom(cause)) return tooLittle;
  return cause instanceof JetStreamApiError && cause.code === NO_PEERS ? tooFew : undefined;
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
export const isSilence = (error: unknown): boolean => error instanceof TimeoutError || isNobodyThere(error);
