import { ContainerState, type RestartPolicy, RestartPolicy_Mode } from "#contracts/container/v1/container";
import type { UpdateContainer } from "#contracts/host/v1/agent";
import { Recovery } from "#contracts/vm/v1/vm";
import { isStillpointError, StillpointError } from "#libs/errors";
import { removeImages } from "./checkpoints/roll-back.ts";
import type { Container } from "./container.ts";
import type { ContainerParts } from "./container-parts.ts";
import { projectOf } from "./create.ts";
import { lookAgain } from "./look-again.ts";
import { restoreSecrets } from "./restore-secrets.ts";
import { started } from "./status.ts";
import { underGuard } from "./under-guard.ts";

const NEVER: RestartPolicy = { mode: RestartPolicy_Mode.NO, maxRetries: 0 };
const NANOS_IN_MS = 1e6;

/** Starts it and waits until its process runs. @throws StillpointError COMMAND_NOT_FOUND, PORT_TAKEN, LEASE_EXPIRED, START_UNCONFIRMED */
export async function startContainer(parts: ContainerParts, container: Container): Promise<void> {
  const { engine, networks, clock } = parts;
  const { uid, status, definition } = container;
  if (container.manifest.image === "") {
    throw new StillpointError("CONTAINER_STATE", `${container.name} has no image yet: its checkpoint has not come`);
  }
  if (container.isGuarded) parts.starts.require(container);
  if (status.state === ContainerState.PAUSED) await engine.unpause(uid);
  if (definition.spec?.isolated === false) await networks.ensure(projectOf(container), uid);
  await restoreSecrets(parts, container);
  const { isStopped } = container.manifest;
  await container.noteStopped(false);
  try {
    if (isEnginesToRestart(container)) await engine.setRestart(uid, container.restart);
    const asked = clock.now();
    if (await underGuard(parts, container, () => engine.start(uid))) noteStart(container, asked, clock.now());
  } catch (error) {
    // Without the engine's word it may have started.
    if (isStillpointError(error, "ENGINE_UNAVAILABLE")) throw error;
    await disarm(parts, container);
    await container.noteStopped(isStopped);
    throw error;
  }
}

/** As its restart policy says, where that is not the engine's; the engine tells that it was started. */
export async function startByPolicy(parts: ContainerParts, container: Container, signal: AbortSignal): Promise<void> {
  const { engine, networks } = parts;
  await parts.starts.confirm(container, signal);
  if (container.definition.spec?.isolated === false) await networks.ensure(projectOf(container), container.uid);
  await restoreSecrets(parts, container);
  await underGuard(parts, container, () => engine.start(container.uid));
  // Its owner was faster.
  if (container.manifest.isStopped || container.isLeaving) await engine.stop(container.uid, 0);
}

/** Sends its stop signal, and SIGKILL when the grace is over. A stopped container stays as it is. */
export async function stopContainer(parts: ContainerParts, container: Container, graceSeconds: number): Promise<void> {
  const { engine } = parts;
  await container.noteStopped(true);
  if (container.manifest.image === "") return;
  if (container.leaseHold !== undefined) await parts.guarded.end(container.uid); // it hears nothing
  // A paused process hears no signal but the last.
  if (container.status.state === ContainerState.PAUSED) await engine.unpause(container.uid);
  await engine.stop(container.uid, Math.max(0, graceSeconds));
  await disarm(parts, container);
  await lookAgain(parts, container);
}

/** Sends a signal at once. After SIGKILL it stays stopped. */
export async function killContainer(parts: ContainerParts, container: Container, signal: string): Promise<void> {
  if (!/^SIG[A-Z0-9+-]{1,12}$/.test(signal)) {
    throw new StillpointError("ARGUMENT_INVALID", `${JSON.stringify(signal)} is not a signal such as SIGTERM`);
  }
  const { uid, name, status } = container;
  if (container.leaseHold !== undefined) return await stopContainer(parts, container, 0);
  const hasProcess = status.state === ContainerState.RUNNING || status.state === ContainerState.PAUSED;
  if (signal !== "SIGKILL") {
    if (!hasProcess) throw new StillpointError("CONTAINER_STATE", `${name} does not run and hears no signal`);
    return await parts.engine.kill(uid, signal);
  }
  await container.noteStopped(true);
  if (hasProcess) await endAtOnce(parts, container);
  await stopContainer(parts, container, 0);
}

/** A restart policy holds from now on, a recovery from its next start. @throws StillpointError CONTAINER_STATE */
export async function updateContainer(
  parts: ContainerParts,
  container: Container,
  { restart, recovery }: Pick<UpdateContainer, "restart" | "recovery">,
): Promise<void> {
  if (restart !== undefined) {
    await container.savePolicy({ restart });
    if (wasStarted(container) && isEnginesToRestart(container, true))
      await parts.engine.setRestart(container.uid, restart);
  }
  if (recovery !== undefined) await setRecovery(parts, container, recovery);
}

async function setRecovery(parts: ContainerParts, container: Container, recovery: Recovery): Promise<void> {
  const { uid, name, definition, manifest } = container;
  if (definition.spec?.recovery === recovery) return;
  const state = manifest.image === "" ? undefined : (await parts.engine.find(uid))?.state;
  if (state === "running" || state === "paused" || state === "restarting") {
    throw new StillpointError("CONTAINER_STATE", `${name} runs, guarded or not as it was when it started`, {
      help: "Stop it first.",
    });
  }
  // The engine must start none that is guarded, nor does it any more what it was to.
  if (state !== undefined) await parts.engine.setRestart(uid, NEVER);
  await container.savePolicy({ recovery });
  if (recovery === Recovery.RESTART) return;
  const { guardedId: _former, ...free } = container.manifest;
  await container.save(() => free);
  parts.guarded.release(uid);
}

const wasStarted = ({ manifest: { image, isStopped }, status }: Container): boolean =>
  image !== "" && !isStopped && status.startTime !== undefined;

/** Ends it and removes all that it has here. Right for one that was half made, too. */
export async function deleteContainer(parts: ContainerParts, uid: string): Promise<void> {
  const { engine, containers, networks, secrets } = parts;
  const container = containers.find(uid);
  if (container !== undefined) {
    container.isLeaving = true;
    await container.noteStopped(true);
  }
  if (container?.leaseHold !== undefined) await parts.guarded.end(uid);
  await engine.remove(uid);
  parts.guarded.release(uid);
  await engine.removeVolumes(uid);
  if (container !== undefined) await removeImages(parts, container);
  await secrets.remove(uid);
  await containers.remove(uid);
  networks.release(uid); // also of one that could not be made, which is not known here
}

/** It may end by itself meanwhile. */
async function endAtOnce({ engine }: ContainerParts, { uid }: Container): Promise<void> {
  try {
    await engine.kill(uid, "SIGKILL");
  } catch (error) {
    if (!isStillpointError(error, "CONTAINER_STATE")) throw error;
  }
}

/** The engine would start it at its own start, as its policy says. */
async function disarm({ engine }: ContainerParts, container: Container): Promise<void> {
  if (hasPolicy(container)) await engine.setRestart(container.uid, NEVER);
}

/** One that is guarded is this agent's to start again. @param also one without any policy */
function isEnginesToRestart(container: Container, also = false): boolean {
  return !container.isGuarded && (also || hasPolicy(container));
}

function hasPolicy({ restart: { mode } }: Container): boolean {
  return mode === RestartPolicy_Mode.ALWAYS || mode === RestartPolicy_Mode.ON_FAILURE;
}

/** What the engine has told since (it started, it has ended again) is newer than this. */
function noteStart(container: Container, asked: Date, done: Date): void {
  if (container.eventTime < asked.getTime() * NANOS_IN_MS) {
    container.see(started(container.status, done, container.intent));
  }
}
