import { RestartPolicy_Mode } from "#contracts/container/v1/container";
import type { SeenContainer, SeenState } from "../container-engine.ts";
import { heldTakes } from "./checkpoints/held.ts";
import { settleCheckpoints } from "./checkpoints/settle.ts";
import type { Container } from "./container.ts";
import type { ContainerParts } from "./container-parts.ts";
import { projectOf } from "./create.ts";
import { lookAgain } from "./look-again.ts";
import { startContainer, stopContainer } from "./power.ts";

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
