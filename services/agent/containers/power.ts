import { ContainerState, type RestartPolicy, RestartPolicy_Mode } from "#contracts/container/v1/container";
import { isStillpointError, StillpointError } from "#libs/errors";
import { removeImages } from "./checkpoints/roll-back.ts";
import type { Container } from "./container.ts";
import type { ContainerParts } from "./container-parts.ts";
import { projectOf } from "./create.ts";
import { lookAgain } from "./look-again.ts";
import { restoreSecrets } from "./restore-secrets.ts";
import { started } from "./status.ts";

const NEVER: RestartPolicy = { mode: RestartPolicy_Mode.NO, maxRetries: 0 };
const NANOS_IN_MS = 1e6;

/** Starts it and waits until its process runs. @throws StillpointError COMMAND_NOT_FOUND, PORT_TAKEN */
export async function startContainer(parts: ContainerParts, container: Container): Promise<void> {
  const { engine, networks, clock } = parts;
  const { uid, status, definition } = container;
  if (container.manifest.image === "") {
    throw new StillpointError("CONTAINER_STATE", `${container.name} has no image yet: its checkpoint has not come`);
  }
  if (status.state === ContainerState.PAUSED) await engine.unpause(uid);
  if (definition.spec?.isolated === false) await networks.ensure(projectOf(container), uid);
  await restoreSecrets(parts, container);
  const { isStopped } = container.manifest;
  await container.noteStopped(false);
  try {
    if (hasPolicy(container)) await engine.setRestart(uid, container.restart);
    const asked = clock.now();
    if (await engine.start(uid)) noteStart(container, asked, clock.now());
  } catch (error) {
    // Without the engine's word it may have started.
    if (isStillpointError(error, "ENGINE_UNAVAILABLE")) throw error;
    await disarm(parts, container);
    await container.noteStopped(isStopped);
    throw error;
  }
}

/** Sends its stop signal, and SIGKILL when the grace is over. A stopped container stays as it is. */
export async function stopContainer(parts: ContainerParts, container: Container, graceSeconds: number): Promise<void> {
  const { engine } = parts;
  await container.noteStopped(true);
  if (container.manifest.image === "") return;
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
  const hasProcess = status.state === ContainerState.RUNNING || status.state === ContainerState.PAUSED;
  if (signal !== "SIGKILL") {
    if (!hasProcess) throw new StillpointError("CONTAINER_STATE", `${name} does not run and hears no signal`);
    return await parts.engine.kill(uid, signal);
  }
  await container.noteStopped(true);
  if (hasProcess) await endAtOnce(parts, container);
  await stopContainer(parts, container, 0);
}

/** Holds from now on, whether it runs or not. */
export async function updateContainer(
  parts: ContainerParts,
  container: Container,
  restart: RestartPolicy | undefined,
): Promise<void> {
  if (restart === undefined) return;
  await container.saveRestart(restart);
  const { image, isStopped } = container.manifest;
  if (image !== "" && !isStopped && container.status.startTime !== undefined)
    await parts.engine.setRestart(container.uid, restart);
}

/** Ends it and removes all that it has here. Right for one that was half made, too. */
export async function deleteContainer(parts: ContainerParts, uid: string): Promise<void> {
  const { engine, containers, networks, secrets } = parts;
  const container = containers.find(uid);
  if (container !== undefined) {
    container.isLeaving = true;
    await container.noteStopped(true);
  }
  await engine.remove(uid);
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

function hasPolicy({ restart: { mode } }: Container): boolean {
  return mode === RestartPolicy_Mode.ALWAYS || mode === RestartPolicy_Mode.ON_FAILURE;
}

/** What the engine has told since (it started, it has ended again) is newer than this. */
function noteStart(container: Container, asked: Date, done: Date): void {
  if (container.eventTime < asked.getTime() * NANOS_IN_MS) {
    container.see(started(container.status, done, container.intent));
  }
}
