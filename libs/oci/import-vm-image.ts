import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { convertToRaw, inspectImage } from "#libs/disk-image";
import { type PushedVmImage, type PushVmImage, pushVmImage } from "./push-vm-image.ts";

export interface ImportVmImage extends Omit<PushVmImage, "disk"> {
  /** A raw or qcow2 image as a user hands it in; not trusted. */
  readonly file: string;
  /** 2 TiB when left out. */
  readonly maxVirtualSizeBytes?: number;
  /** Where a qcow2 image's raw disk is kept meanwhile; the system's temporary folder when left out. */
  readonly workFolder?: string;
}

/**
 * Inspects an image, converts it to raw where needed, and pushes it. Nothing stays behind when it fails.
 * @throws StillpointError of `inspectImage`, `convertToRaw` and `pushVmImage`
 */
export async function importVmImage({
  file,
  maxVirtualSizeBytes,
  workFolder,
  ...push
}: ImportVmImage): Promise<PushedVmImage> {
  const quota = maxVirtualSizeBytes === undefined ? {} : { maxVirtualSizeBytes };
  const { format } = await inspectImage(file, quota);
  if (format === "raw") return await pushVmImage({ ...push, disk: file });
  const folder = await mkdtemp(join(workFolder ?? tmpdir(), "stillpoint-import-"));
  try {
    const target = join(folder, "disk.raw");
    await convertToRaw({ path: file, target, ...quota }, { signal: push.signal });
    return await pushVmImage({ ...push, disk: target });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
