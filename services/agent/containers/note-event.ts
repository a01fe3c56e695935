import { ContainerState } from "#contracts/container/v1/container";
import type { EngineEvent } from "../container-engine.ts";
import { treeOf } from "./checkpoints/tree.ts";
import type { Container } from "./container.ts";
import type { ContainerParts } from "./container-parts.ts";
import { isOld, lookAgain } from "./look-again.ts";
import { afterEvent } from "./status.ts";

const NANOS_IN_MS = 1e6;
/** A container that ends so soon after its start says in its last lines what it lacks. */
const AT_ONCE_MS = 10_000;
const LAST_LINES = 5;
const LONGEST_WORDS = 500;
/** What the kernel ends for want of memory. */
const KILLED = 137;
/** So much later than of its end, on a busy host, Docker may tell that a container had no memory left. */
const LATE_MS = 500;

export type NotingParts = Pick<ContainerParts, "containers" | "ends" | "engine" | "restarts" | "clock" | "logger">;

/**
 * Takes what the engine tells of a container. That one has ended is kept back for a moment where it may have run out of
 * memory: Docker tells of the two on separate ways, in either order.
 */
export async function noteEvent(parts: NotingParts, event: EngineEvent): Promise<void> {
  const container = parts.containers.find(event.uid);
  if (container === undefined) return;
  const { uid } = container;
  if (parts.ends.has(uid)) {
    const isWhy = event.kind === "outOfMemory";
    container.ranOutOfMemory ||= isWhy;
    await parts.ends.tellNow(uid);
    if (isWhy) return;
  }
  if (!mayBeOutOfMemory(container, event)) return await take(parts, container, event);
  parts.ends.keep(uid, LATE_MS, () =>
    take(parts, container, event).catch((error: unknown) => {
      parts.logger.warn({ err: error, uid }, "the container's end could not be told");
    }),
  );
}

function mayBeOutOfMemory({ ranOutOfMemory, intent, definition }: Container, event: EngineEvent): boolean {
  const isKilled = event.kind === "ended" && event.exitCode === KILLED && !intent.isStopped;
  return isKilled && !ranOutOfMemory && (definition.spec?.limits?.memoryBytes ?? 0) > 0;
}

async function take(parts: NotingParts, container: Container, event: EngineEvent): Promise<void> {
  await note(parts, container, event);
  parts.restarts.consider(container);
}

async function note(parts: NotingParts, container: Container, event: EngineEvent): Promise<void> {
  if (container.isLeaving || isOld(container, event.time) || isOurs(container, event)) return;
  // One that was removed may have been made anew.
  if (event.kind === "removed") return void (await lookAgain(parts, container));
  if (event.kind === "outOfMemory") container.ranOutOfMemory = true;
  const status = afterEvent(container.status, event, container.intent, container.ranOutOfMemory);
  if (event.kind !== "ended") return container.see(status, event.time);
  container.ranOutOfMemory = false;
  const error = await lastWords(parts, container, event);
  container.see({ ...status, lastExit: status.lastExit && { ...status.lastExit, error } }, event.time);
}

/** A checkpoint lets it stand still for a moment, or makes it anew; one that stands still cannot say how it is. */
function isOurs(container: Container, { kind }: EngineEvent): boolean {
  const { pending, applying } = treeOf(container);
  if (container.leaseHold !== undefined && kind === "health") return true;
  return (kind === "paused" && pending?.isPaused === true) || (kind === "removed" && applying !== null);
}

/** What a container printed last, when it failed right after its start; empty otherwise. */
async function lastWords(parts: NotingParts, container: Container, event: EngineEvent): Promise<string> {
  const { startTime, state } = container.status;
  const ranMs = event.time / NANOS_IN_MS - (startTime?.getTime() ?? 0);
  const hasFailed = event.kind === "ended" && event.exitCode !== 0 && !container.intent.isStopped;
  if (!hasFailed || state !== ContainerState.RUNNING || ranMs > AT_ONCE_MS) return "";
  const pieces: Buffer[] = [];
  try {
    const options = { follow: false, tail: LAST_LINES, since: undefined, signal: AbortSignal.timeout(AT_ONCE_MS) };
    for await (const { bytes } of parts.engine.logs(container.uid, options)) pieces.push(bytes);
  } catch (error) {
    parts.logger.debug({ err: error, uid: container.uid }, "its last lines cannot be read");
  }
  return Buffer.concat(pieces).toString("utf8").trim().slice(-LONGEST_WORDS);
}
