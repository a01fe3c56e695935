import { ContainerState, RestartPolicy_Mode } from "#contracts/container/v1/container";
import type { EngineEvent, SeenContainer, SeenState } from "../container-engine.ts";
import { heldTakes } from "./checkpoints/held.ts";
import { settleCheckpoints } from "./checkpoints/settle.ts";
import { treeOf } from "./checkpoints/tree.ts";
import type { Container } from "./container.ts";
import type { ContainerParts } from "./container-parts.ts";
import { projectOf } from "./create.ts";
import { isOld, lookAgain } from "./look-again.ts";
import { startContainer, stopContainer } from "./power.ts";
import { afterEvent } from "./status.ts";

const NANOS_IN_MS = 1e6;
/** A container that ends so soon after its start says in its last lines what it lacks. */
const AT_ONCE_MS = 10_000;
const LAST_LINES = 5;
const LONGEST_WORDS = 500;

/**
 * Looks at every container after the engine was away, or the agent: what happened meanwhile is told, what its owner had
 * stopped is stopped, and what should run and could not be started is started.
 */
export async function adoptContainers(
  parts: ContainerParts,
  { isFirst }: { readonly isFirst: boolean },
): Promise<void> {
  parts.networks.forget();
  parts.images.forget();
  const inEngine = await parts.engine.list();
  if (isFirst) await removeStrays(parts, inEngine);
  for (const container of parts.containers.list()) {
    const { leaseHold } = container;
    // Nothing is to be done to one that stands still for want of a lease.
    if (leaseHold === undefined) await adoptOne(parts, container);
    else void leaseHold.over.then(() => adoptOne(parts, container));
  }
  if (isFirst) await parts.networks.sweep();
}

function adoptOne(parts: ContainerParts, container: Container): Promise<void> {
  return adopt(parts, container).catch((error: unknown) => {
    parts.logger.error({ err: error, uid: container.uid }, "the container could not be adopted");
  });
}

/** Takes what the engine tells of a container. */
export async function noteEvent(parts: ContainerParts, event: EngineEvent): Promise<void> {
  const container = parts.containers.find(event.uid);
  if (container === undefined) return;
  await note(parts, container, event);
  parts.restarts.consider(container);
}

async function note(parts: ContainerParts, container: Container, event: EngineEvent): Promise<void> {
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

async function adopt(parts: ContainerParts, container: Container): Promise<void> {
  if (!container.isActedOn && !heldTakes.has(container)) await settleCheckpoints(parts, container);
  if (container.manifest.image === "") return;
  if (container.definition.spec?.isolated === false) await parts.networks.ensure(projectOf(container), container.uid);
  const seen = await lookAgain(parts, container);
  if (seen === undefined) return;
  const { intent } = container;
  if (intent.isStopped && isAlive(seen)) await stopContainer(parts, container, 0);
  if (container.isGuarded) parts.restarts.consider(container);
  else if (!intent.isStopped && seen.state === "exited") await startAgain(parts, container);
}

/** The engine could not start it at its own start: the files of its secrets were gone. */
async function startAgain(parts: ContainerParts, container: Container): Promise<void> {
  if (container.restart.mode === RestartPolicy_Mode.ALWAYS) await startContainer(parts, container);
}

function isAlive({ state }: SeenContainer): boolean {
  return state === "running" || state === "paused" || state === "restarting";
}

/**
 * Containers of ours without a folder: the creation of one that never ran was cut off before it was written down, and
 * goes; one that ran may have data, and is for people to judge.
 */
async function removeStrays(parts: ContainerParts, inEngine: ReadonlyMap<string, SeenState>): Promise<void> {
  for (const [uid, state] of inEngine) {
    if (parts.containers.find(uid) !== undefined) continue;
    if (state === "created") {
      await parts.engine.remove(uid);
      await parts.engine.removeVolumes(uid);
    } else {
      parts.logger.error({ uid, state }, "a container of this host has no folder here; it is left alone");
    }
  }
}

/** What a container printed last, when it failed right after its start; empty otherwise. */
async function lastWords(parts: ContainerParts, container: Container, event: EngineEvent): Promise<string> {
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
