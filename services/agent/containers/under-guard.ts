import { StillpointError } from "#libs/errors";
import type { Container } from "./container.ts";
import type { ContainerParts } from "./container-parts.ts";

/**
 * Starts a container. One that must not run without the host's lease is guarded before, so that it is held at the
 * deadline whatever becomes of this agent, and ended if its processes are not where a guard could hold them. The engine may
 * take its time: when the lease was interrupted meanwhile, it is held until the owner's word on it has come.
 * @throws StillpointError LEASE_EXPIRED, START_UNCONFIRMED, CAPABILITY_MISSING
 */
export async function underGuard<Result>(
  parts: ContainerParts,
  container: Container,
  start: () => Promise<Result>,
): Promise<Result> {
  if (!container.isGuarded) return await start();
  parts.starts.require(container);
  const id = (await parts.engine.find(container.uid))?.id;
  if (id === undefined) return await start(); // fails, in the engine's words
  if (container.manifest.guardedId !== id) await container.save((manifest) => ({ ...manifest, guardedId: id }));
  await guardAgain(parts, container);
  parts.starts.require(container);
  const result = await start();
  if (!parts.starts.may(container.uid)) parts.guarded.holdByForce(container.uid);
  if (!(await guardAgain(parts, container))) await refuseUnseen(parts, container);
  return result;
}

/** Has it held that was guarded before; true when its processes are seen. */
export async function guardAgain({ guarded }: Pick<ContainerParts, "guarded">, container: Container): Promise<boolean> {
  const { uid, manifest } = container;
  if (manifest.guardedId === undefined) return false;
  return await guarded.guard({ uid, id: manifest.guardedId, isPaused: () => container.isPausedByUs });
}

/** It may have ended at once. */
async function refuseUnseen({ engine }: ContainerParts, { uid, name }: Container): Promise<void> {
  const state = (await engine.find(uid))?.state;
  if (state !== "running" && state !== "paused") return;
  await engine.kill(uid, "SIGKILL");
  throw new StillpointError("CAPABILITY_MISSING", `${name} cannot be held here: its control group is not to be seen`, {
    help: "Run the agent where it sees the engine's control groups, or set --recovery none.",
  });
}
