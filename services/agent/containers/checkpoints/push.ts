import type { PushCheckpoint, StepResult } from "#contracts/host/v1/agent";
import { isStillpointError } from "#libs/errors";
import { failpoint } from "#libs/failpoints";
import { pushContainerCheckpoint, readContainerCheckpoint, storeAsOci, type VolumeToPush } from "#libs/oci";
import { ancestorsOf, outcomeOf, subjectOf, toldOf } from "../../checkpoints/push.ts";
import { findPushed, writePushedMap } from "../../checkpoints/pushed-map.ts";
import type { StepContext } from "../../steps/step-runner.ts";
import type { Container } from "../container.ts";
import type { ContainerParts } from "../container-parts.ts";
import { archiveOf } from "./archive.ts";
import { apparentBytes } from "./files.ts";
import { checkpointOf, treeOf, withoutMemory } from "./tree.ts";
import type { ContainerCheckpoint } from "./tree-shape.ts";
import { refuseDamaged } from "./volume-digests.ts";
import { checkpointFolder, volumeCopy } from "./volumes.ts";

/** Sends a checkpoint to the registry while its container goes on: its image by the engine, its volumes in chunks. */
export async function pushToRegistry(
  parts: ContainerParts,
  context: StepContext,
  request: PushCheckpoint,
): Promise<StepResult> {
  const { checkpointUid, workloadUid, repository, tag, record = {} } = request;
  const { registry, logger } = parts;
  const { signal } = context;
  const container = parts.containers.get(workloadUid);
  const checkpoint = withoutMemory(container, checkpointUid);
  const folderOf = (uid: string) => checkpointFolder(container, uid);
  const known = await findPushed([checkpointUid, ...ancestorsOf(treeOf(container), checkpoint.parent)], {
    ...{ folderOf, read: readContainerCheckpoint, registry, repository, logger, signal },
  });
  await refuseDamaged(container, checkpointUid, signal);
  await failpoint("agent.push-checkpoint.planned");
  const subject = subjectOf(known, checkpointUid);
  await using image = await pushImage(parts, context, checkpoint, { repository, tag: `image-${checkpointUid}` });
  const pushed = await pushContainerCheckpoint({
    ...{ registry, repository, tag, image, signal, ...(subject && { subject }) },
    config: { ...toldOf(record), kind: checkpoint.kind, uid: checkpointUid },
    volumes: await volumesToPush(container, checkpointUid, signal),
    known: known?.contents.volumes ?? [],
    receipt: (record.receipt as object | undefined) ?? {},
    async onProgress({ doneBytes, totalBytes }) {
      context.progress({ bytesDone: doneBytes, bytesTotal: totalBytes, message: `to ${repository}:${tag}` });
      if (2 * doneBytes >= totalBytes) await failpoint("agent.push-checkpoint.chunk");
    },
  });
  const { descriptor, contents } = pushed;
  await writePushedMap(folderOf(checkpointUid), { repository, descriptor, subject, ...contents });
  return { workload: undefined, checkpoint: undefined, pushed: outcomeOf(pushed) };
}

async function volumesToPush(container: Container, checkpointUid: string, signal: AbortSignal) {
  const volumes: VolumeToPush[] = [];
  for (const id of checkpointOf(container, checkpointUid).volumes) {
    const copy = volumeCopy(checkpointFolder(container, checkpointUid), id);
    volumes.push({ id, sizeBytes: await apparentBytes(copy, signal), open: (ended) => archiveOf(copy, ended) });
  }
  return volumes;
}

/** The engine pushes under a tag of its own, which goes when the checkpoint's index names the image. */
async function pushImage(
  { engine, images, registry, logger }: ContainerParts,
  { signal, progress }: StepContext,
  { image }: Pick<ContainerCheckpoint, "image">,
  at: { readonly repository: string; readonly tag: string },
) {
  const repository = images.nameFor(at.repository);
  const name = `${repository}:${at.tag}`;
  const withdraw = async () => {
    await engine.images.remove(name);
    await registry.deleteManifest(at.repository, at.tag).catch((error: unknown) => {
      if (!isStillpointError(error, "IMAGE_NOT_FOUND")) logger.warn({ err: error, ...at }, "the tag of a push stays");
    });
  };
  try {
    await engine.images.tag(image, { repository, tag: at.tag });
    const control = { signal, progress: (bytes: object) => progress({ ...bytes, message: "pushing the image" }) };
    const { sentLayers } = await engine.images.push(name, images.login, control);
    const pushed = await storeAsOci(registry, { ...at, signal });
    const newLayers = pushed.layers.filter((_, i) => sentLayers.has(shortId(pushed.diffIds[i] ?? "")));
    const sentBytes = newLayers.reduce((sum, { size }) => sum + size, 0);
    return { ...pushed, sentBytes, [Symbol.asyncDispose]: withdraw };
  } catch (error) {
    await withdraw();
    throw error;
  }
}

const shortId = (digest: string): string => digest.replace(/^sha256:/, "").slice(0, 12);
