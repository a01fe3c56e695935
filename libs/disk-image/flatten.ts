import { rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { sync } from "./overlays.ts";
import { filePath, LONG, type QemuImgLimits, qemuImg } from "./qemu-img.ts";

/**
 * Writes what a guest sees of an unused qcow2 disk, through its whole chain, into one new qcow2 file that stands alone.
 * Durable, and there as a whole or not at all; on the way it is `target` with ".part" behind it.
 */
export async function flattenDisk(
  { path, target }: { readonly path: string; readonly target: string },
  limits: QemuImgLimits = {},
): Promise<void> {
  const unfinished = `${filePath(target)}.part`;
  await rm(unfinished, { force: true });
  try {
    await qemuImg(["convert", "-q", "-f", "qcow2", "-O", "qcow2", filePath(path), unfinished], { ...LONG, ...limits });
    await sync(unfinished);
    await rename(unfinished, target);
  } finally {
    await rm(unfinished, { force: true });
  }
  await sync(dirname(target));
}
