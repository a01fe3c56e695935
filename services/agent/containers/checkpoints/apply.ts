import { mkdir, rename, rm } from "node:fs/promises";
import type { ApplyCheckpoint, CheckApply } from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import { failpoint } from "#libs/failpoints";
import type { EngineImage } from "../../container-engine.ts";
import { syncFolder } from "../../durable-file.ts";
import type { StepContext } from "../../steps/step-runner.ts";
import type { Container } from "../container.ts";
import type { ContainerParts } from "../container-parts.ts";
import { makeInEngine } from "../create.ts";
import { resolveHostPaths } from "../host-paths.ts";
import { stopContainer } from "../power.ts";
import { volumeName } from "../recipe.ts";
import { NEVER_STARTED, started } from "../status.ts";
import { underGuard } from "../under-guard.ts";
import { besideVolume, copyTree, isThere, writeBack } from "./files.ts";
import { imageRepository } from "./paused-take.ts";
import { NOW, rollBack } from "./roll-back.ts";
import { checkpointOf, saveTree, treeOf } from "./tree.ts";
import type { ContainerCheckpoint, PendingApply } from "./tree-shape.ts";
import { refuseDamaged } from "./volume-digests.ts";
import { checkpointFolder, memoryIn, volumeCopy, volumeFiles } from "./volumes.ts";

/**
 * Puts a container on a checkpoint and leaves it stopped, or, where that has its memory, lets it go on. Copies of the
 * volumes are made beside them first, while it may still run; from the moment that the manifest says so the apply is
 * finished, by this agent or the next one.
 */
export async function applyCheckpoint(
  parts: ContainerParts,
  { signal }: StepContext,
  container: Container,
  { checkpointUid, generationId, leaveOff }: ApplyCheckpoint,
): Promise<void> {
  const checkpoint = await checkApply(parts, container, { checkpointUid }, signal);
  await rollBack(parts, container);
  try {
    for (const id of checkpoint.volumes) await prepareVolume(parts, container, { checkpointUid, id, signal });
  } catch (error) {
    await sweepBeside(parts, container, checkpoint.volumes);
    throw error;
  }
  await failpoint("agent.apply-checkpoint.prepared");
  const applying = { checkpoint: checkpointUid, generationId, volumes: checkpoint.volumes };
  await saveTree(container, (tree) => ({ ...tree, applying }));
  await failpoint("agent.apply-checkpoint.decided");
  await finishApply(parts, container);
  if (checkpoint.kind === "standard" && !leaveOff) await goOn(parts, container, checkpointUid);
}

/** From the instant of its memory. Where that fails its files are applied all the same, and it is off. */
async function goOn(parts: ContainerParts, container: Container, checkpointUid: string): Promise<void> {
  const { engine, clock } = parts;
  const asked = clock.now();
  await container.noteStopped(false);
  try {
    const memory = memoryIn(checkpointFolder(container, checkpointUid));
    await underGuard(parts, container, () => engine.startFromMemory(container.uid, memory));
  } catch (error) {
    await container.noteStopped(true);
    throw error;
  }
  container.see(started(container.status, asked, container.intent));
}

/** Fails with CHECKPOINT_DAMAGED when files or image of it are missing or other than they were; changes nothing. */
export async function checkApply(
  { engine }: ContainerParts,
  container: Container,
  { checkpointUid }: CheckApply,
  signal: AbortSignal,
): Promise<ContainerCheckpoint> {
  const checkpoint = checkpointOf(container, checkpointUid);
  await refuseDamaged(container, checkpointUid, signal);
  if ((await engine.images.find(checkpoint.image)) === undefined) {
    throw damaged(container, checkpointUid, `its image ${checkpoint.image}`);
  }
  return checkpoint;
}

/** Goes on with an apply that has begun; each part of it can be repeated. */
export async function finishApply(parts: ContainerParts, container: Container): Promise<void> {
  const { applying } = treeOf(container);
  if (applying === null) return;
  const { image } = checkpointOf(container, applying.checkpoint);
  const { engine } = parts;
  const { uid } = container;
  if ((await engine.find(uid)) !== undefined) await stopContainer(parts, container, 0);
  await engine.remove(uid);
  await failpoint("agent.apply-checkpoint.removed");
  await engine.images.tag(image, { repository: imageRepository(uid), tag: NOW });
  const contents = await engine.images.find(image);
  const { spec } = container.definition;
  if (contents === undefined || spec === undefined) throw damaged(container, applying.checkpoint, `its image ${image}`);
  const hostMounts = await resolveHostPaths(spec, parts.policy.hostRoot);
  // Before the volumes are switched: the engine fills empty ones from the image.
  await makeInEngine(parts, container, { image, contents, hostMounts });
  await failpoint("agent.apply-checkpoint.made");
  for (const id of applying.volumes) await switchVolume(await volumeFiles(parts, container, id));
  await failpoint("agent.apply-checkpoint.switched");
  await commitApply(parts, container, applying, contents);
}

/** Copies that were made ready for an apply that was never decided. */
export async function sweepBeside(
  parts: ContainerParts,
  container: Container,
  volumes: readonly string[],
): Promise<void> {
  for (const id of volumes) {
    const files = await parts.engine.volumePath(volumeName(container.uid, id));
    if (files === undefined) continue;
    const { next, old } = besideVolume(files);
    for (const folder of [next, old]) await rm(folder, { recursive: true, force: true });
  }
}

async function commitApply(
  parts: ContainerParts,
  container: Container,
  { checkpoint, generationId, volumes }: PendingApply,
  { id: image, hasHealthCheck }: EngineImage,
): Promise<void> {
  // What changes from here on may differ from the checkpoint.
  const since = parts.clock.now().getTime();
  await container.save((manifest) => ({
    ...manifest,
    ...{ image, isStopped: true },
    hasHealthCheck: container.definition.spec?.healthCheck !== undefined || hasHealthCheck,
    tree: { ...treeOf(container), applying: null, generationId, head: { checkpoint, since } },
  }));
  container.see(NEVER_STARTED, since * 1e6);
  await sweepBeside(parts, container, volumes);
}

interface Preparing {
  readonly checkpointUid: string;
  readonly id: string;
  readonly signal: AbortSignal;
}

async function prepareVolume(
  parts: ContainerParts,
  container: Container,
  { checkpointUid, id, signal }: Preparing,
): Promise<void> {
  await parts.engine.createVolume(container.uid, volumeName(container.uid, id));
  const { next } = besideVolume(await volumeFiles(parts, container, id));
  await rm(next, { recursive: true, force: true });
  await mkdir(next, { mode: 0o700 });
  await copyTree(volumeCopy(checkpointFolder(container, checkpointUid), id), next, { signal });
  await writeBack(next, signal);
}

/** On the disk before the manifest says that it is done: the two may be on different file systems. */
async function switchVolume(path: string): Promise<void> {
  const { files, next, old, above } = besideVolume(path);
  if (await isThere(next)) {
    if (await isThere(files)) {
      await rm(old, { recursive: true, force: true });
      await rename(files, old);
    }
    await rename(next, files);
  }
  await syncFolder(above);
}

function damaged({ name }: Container, checkpointUid: string, what: string): StillpointError {
  return new StillpointError("CHECKPOINT_DAMAGED", `checkpoint ${checkpointUid} of ${name} lacks ${what}`);
}
