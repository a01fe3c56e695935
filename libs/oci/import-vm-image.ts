import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RawDiskWanted, rawDiskOf } from "#libs/disk-image";
import { type PushedVmImage, type PushVmImage, pushVmImage } from "./push-vm-image.ts";

export interface ImportVmImage extends Omit<PushVmImage, "disk"> {
  /** An image as a user hands it in, absolute; not trusted. */
  readonly file: string;
  /** How to read it; by its content, and the one disk that is there, when left out. */
  readonly read?: Pick<RawDiskWanted, "format" | "disk" | "maxVirtualSizeBytes">;
  /** Where the raw disk of an image that is not raw is kept meanwhile; the system's temporary folder when left out. */
  readonly workFolder?: string;
}

/**
 * Inspects an image, converts it to raw where needed, and pushes it. Nothing stays behind when it fails.
 * @throws StillpointError of `rawDiskOf` and `pushVmImage`
 */
export async function importVmImage({ file, read, workFolder, ...push }: ImportVmImage): Promise<PushedVmImage> {
  const folder = await mkdtemp(join(workFolder ?? tmpdir(), "stillpoint-import-"));
  try {
    const disk = await rawDiskOf({ ...read, path: file, folder, signal: push.signal });
    return await pushVmImage({ ...push, disk });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
