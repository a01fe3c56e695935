import { statfs } from "node:fs/promises";
import type { Clock } from "#libs/clock";
import type { Logger } from "#libs/logger";
import type { EngineImages } from "../container-engine.ts";
import type { ContainerImages } from "./container-images.ts";
import type { PulledImages } from "./pulled-images.ts";

export interface EvictDeps {
  readonly pulled: PulledImages;
  readonly images: Pick<EngineImages, "find" | "remove">;
  readonly known: Pick<ContainerImages, "forget">;
  /** What the pulled images may take together, each with all its layers; 0 is no limit. */
  readonly limitBytes: number;
  /** Whether the disk on which the engine keeps images has little space left. */
  readonly isDiskLow: () => Promise<boolean>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A container that is being made wants its image, and is not there yet. */
const WANTED_MS = 10 * 60_000;
/** Of the disk; the engine itself grows by what containers write. */
const LOW_SHARE = 0.1;

/**
 * Removes images that this agent has pulled and no container here names, those first that were not used for longest,
 * until the rest is within the limit and the disk has space again. What others use the engine keeps by itself.
 * @param named by the containers of this host, and by their checkpoints
 */
export async function evictImages(deps: EvictDeps, named: ReadonlySet<string>): Promise<void> {
  const { pulled, limitBytes, isDiskLow, clock, logger } = deps;
  const nowMs = clock.now().getTime();
  for (const image of named) pulled.use(image, nowMs);
  for (const image of pulled.unusedSince(nowMs - WANTED_MS)) {
    const isOver = limitBytes > 0 && pulled.sizeBytes > limitBytes;
    if (!isOver && !(await isDiskLow())) break;
    if (await evict(deps, image)) logger.info({ image, isOver }, "an image that nobody uses was removed");
  }
  await pulled.settle();
}

/** False when somebody else's container holds it: it is looked at again when others have been. */
async function evict({ pulled, images, known, clock }: EvictDeps, image: string): Promise<boolean> {
  known.forget(image);
  await images.remove(image);
  const isGone = (await images.find(image)) === undefined;
  if (isGone) await pulled.forget(image);
  else pulled.use(image, clock.now().getTime());
  return isGone;
}

/** False for a folder that is not to be seen from here. */
export async function isDiskLow(folder: string): Promise<boolean> {
  const disk = await statfs(folder).catch(() => undefined);
  return disk !== undefined && disk.bavail < disk.blocks * LOW_SHARE;
}
