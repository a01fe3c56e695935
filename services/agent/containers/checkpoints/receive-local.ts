import { mkdir, rename, rm } from "node:fs/promises";
import type { LocalCheckpoint } from "#contracts/host/v1/agent";
import { StillpointError } from "#libs/errors";
import type { StepContext } from "../../steps/step-runner.ts";
import type { ContainerParts } from "../container-parts.ts";
import { checkApply } from "./apply.ts";
import { besideCopy, copyTree } from "./files.ts";
import type { ReceiveSource } from "./receive-source.ts";
import { withoutMemory } from "./tree.ts";
import { checkpointFolder, volumeCopy } from "./volumes.ts";

/**
 * A checkpoint of another container on this host: its files as hard links, which copy nothing and which nobody writes
 * to, or copied. They are checked first.
 */
export async function localSource(
  parts: ContainerParts,
  { signal }: StepContext,
  { workloadUid, checkpointUid, fullCopy }: LocalCheckpoint,
): Promise<ReceiveSource> {
  const { engine, containers } = parts;
  const source = containers.get(workloadUid);
  const { kind, volumes, image } = withoutMemory(source, checkpointUid);
  await checkApply(parts, source, { checkpointUid }, signal);
  return {
    ...{ kind, volumes },
    async image(to) {
      await engine.images.tag(image, to);
      const found = await engine.images.find(image);
      if (found !== undefined) return found;
      throw new StillpointError("CHECKPOINT_DAMAGED", `checkpoint ${checkpointUid} lacks its image ${image}`);
    },
    async volume(id, copy) {
      const from = volumeCopy(checkpointFolder(source, checkpointUid), id);
      const part = besideCopy(copy, "part");
      await rm(part, { recursive: true, force: true });
      await mkdir(part, { recursive: true, mode: 0o700 });
      await copyTree(from, part, { ...(!fullCopy && { linkTo: from }), signal });
      await rename(part, copy);
    },
  };
}
