import { mkdir } from "node:fs/promises";
import type { CheckpointOutcome, ReceiveCheckpoint } from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import { failpoint } from "#libs/failpoints";
import type { EngineImage } from "../../container-engine.ts";
import type { StepContext } from "../../steps/step-runner.ts";
import type { Container } from "../container.ts";
import type { ContainerParts } from "../container-parts.ts";
import { volumesOf } from "../recipe.ts";
import { sealCheckpoint, storedOutcome } from "./commit-take.ts";
import { isThere, ownBytes } from "./files.ts";
import { imageRepository } from "./paused-take.ts";
import { registrySource } from "./receive-from-registry.ts";
import { localSource } from "./receive-local.ts";
import type { ReceiveSource } from "./receive-source.ts";
import { removeFiles, rollBack } from "./roll-back.ts";
import { saveTree, treeOf } from "./tree.ts";
import type { ContainerCheckpoint } from "./tree-shape.ts";
import { queueDigests } from "./volume-digests.ts";
import { unfinishedFolder, volumeCopy } from "./volumes.ts";

/**
 * Puts a checkpoint from elsewhere into this container's tree, as a root of it. What is there of it when it is cut off
 * stays for the next attempt; it becomes a checkpoint when all of it is there.
 */
export async function receiveCheckpoint(
  parts: ContainerParts,
  context: StepContext,
  container: Container,
  request: ReceiveCheckpoint,
): Promise<CheckpointOutcome> {
  const { checkpointUid, parentCheckpointUid } = request;
  if (parentCheckpointUid !== "") throw new StillpointError("ARGUMENT_INVALID", "what is received has no parent");
  const stored = await storedOutcome(container, checkpointUid);
  if (stored !== undefined) return stored;
  const source = await sourceOf(parts, context, request);
  await begin(parts, container, checkpointUid);
  const image = await source.image({ repository: imageRepository(container.uid), tag: checkpointUid });
  refuseMisfit(parts, container, { image, volumes: source.volumes });
  const unfinished = unfinishedFolder(container, checkpointUid);
  await mkdir(volumeCopy(unfinished, ""), { recursive: true, mode: 0o700 });
  let sizeBytes = 0;
  for (const id of source.volumes) {
    const copy = volumeCopy(unfinished, id);
    if (!(await isThere(copy))) await source.volume(id, copy);
    sizeBytes += await ownBytes(copy, undefined, context.signal);
  }
  await failpoint("agent.receive-checkpoint.filled");
  const { kind, volumes } = source;
  const since = parts.clock.now().getTime();
  const checkpoint = { kind, parent: null, image: image.id, volumes, since, operation: context.operation };
  return await commit(parts, container, { checkpointUid, checkpoint, sizeBytes, signal: context.signal });
}

async function sourceOf(
  parts: ContainerParts,
  context: StepContext,
  { source }: ReceiveCheckpoint,
): Promise<ReceiveSource> {
  if (source?.$case === "reference") return await registrySource(parts, context, source.value);
  if (source?.$case === "local") return await localSource(parts, context, source.value);
  throw new StillpointError("ARGUMENT_INVALID", "the checkpoint's source is missing");
}

/** Writes down what comes. What another attempt at another checkpoint left is removed. */
async function begin(parts: ContainerParts, container: Container, checkpointUid: string): Promise<void> {
  await rollBack(parts, container);
  const before = treeOf(container).receiving;
  if (before === checkpointUid) return;
  await saveTree(container, (tree) => ({ ...tree, receiving: checkpointUid }));
  if (before !== undefined) await removeFiles(parts, container, before);
}

interface Holding {
  readonly image: EngineImage;
  readonly volumes: readonly string[];
}

/** One for another machine, or with a volume that the container has not got, cannot be put back. */
function refuseMisfit(parts: ContainerParts, { definition, name }: Container, { image, volumes }: Holding): void {
  const { architecture } = parts.facts();
  if (image.architecture !== architecture) {
    const why = `the checkpoint is for ${image.architecture}, and this host is ${architecture}`;
    throw new StillpointError("IMAGE_ARCHITECTURE", why);
  }
  const own = definition.spec === undefined ? [] : volumesOf(definition.spec, image);
  const strange = volumes.find((id) => !own.some((volume) => volume.id === id));
  if (strange === undefined) return;
  throw new StillpointError("CHECKPOINT_MISFIT", `the checkpoint holds volume ${strange}, which ${name} has not got`);
}

interface Received {
  readonly checkpointUid: string;
  readonly checkpoint: ContainerCheckpoint;
  readonly sizeBytes: number;
  readonly signal: AbortSignal;
}

async function commit(parts: ContainerParts, container: Container, received: Received): Promise<CheckpointOutcome> {
  const { checkpointUid, checkpoint, sizeBytes, signal } = received;
  const outcome = { refusedReason: "", refusedDetail: "", evidence: undefined, sizeBytes };
  await sealCheckpoint(container, { checkpointUid, checkpoint, outcome, signal });
  await saveTree(container, ({ receiving: _done, ...tree }) => ({
    ...tree,
    checkpoints: { ...tree.checkpoints, [checkpointUid]: checkpoint },
  }));
  queueDigests(parts, container, checkpointUid);
  return outcome;
}
