import { statfs } from "node:fs/promises";
import { StillpointError } from "#libs/errors";
import type { EngineImages, RegistryLogin } from "../container-engine.ts";
import type { TransferControl } from "../ports.ts";

export interface Pull {
  /** What the engine calls it. */
  readonly image: string;
  readonly login: RegistryLogin | undefined;
  readonly control: TransferControl;
  /** On the disk of the engine's images. */
  readonly freeBytes: number;
}

/**
 * Pulls an image, and gives up as soon as its layers, packed as they come, are known to be larger than the space that
 * was free: a full disk would halt whatever else runs on the host. @throws StillpointError SPACE_INSUFFICIENT
 */
export async function pullWithin(images: Pick<EngineImages, "pull">, pull: Pull): Promise<void> {
  const { image, login, control, freeBytes } = pull;
  const tooLarge = new AbortController();
  let neededBytes = 0;
  const progress: TransferControl["progress"] = (bytes) => {
    neededBytes = bytes.bytesTotal ?? 0;
    if (neededBytes > freeBytes) tooLarge.abort();
    control.progress(bytes);
  };
  try {
    await images.pull(image, login, { signal: AbortSignal.any([control.signal, tooLarge.signal]), progress });
  } catch (cause) {
    if (!tooLarge.signal.aborted) throw cause;
    const why = `${image} has ${neededBytes} bytes or more, and its host has ${freeBytes} left for images`;
    throw new StillpointError("SPACE_INSUFFICIENT", why, { cause });
  }
}

/** Endless for a folder that is not to be seen from here. */
export async function freeBytesIn(folder: string): Promise<number> {
  const disk = await statfs(folder).catch(() => undefined);
  return disk === undefined ? Number.POSITIVE_INFINITY : disk.bavail * disk.bsize;
}
