import { randomUUID } from "node:crypto";
import { link, open, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { StillpointError } from "#libs/errors";
import type { DiskFormat } from "./image-format.ts";
import { filePath, LONG, type QemuImgLimits, qemuImg } from "./qemu-img.ts";

interface Overlay {
  readonly path: string;
  /** Absolute path of the file below; never written to. */
  readonly backing: string;
  readonly backingFormat: DiskFormat;
  /** At least the backing file's virtual size; that size when left out. */
  readonly sizeBytes?: number;
}

/**
 * A new qcow2 file over another; durable, and there as a whole or not at all.
 * @throws StillpointError INTERNAL when `path` exists already: a disk is never overwritten
 */
export async function createOverlay(overlay: Overlay, limits?: QemuImgLimits): Promise<void> {
  const options = ["-b", filePath(overlay.backing), "-F", overlay.backingFormat];
  await create(overlay.path, options, overlay.sizeBytes, limits);
}

/** A new empty qcow2 disk; durable, whole or not at all, never over an existing file. */
export async function createEmpty(
  { path, sizeBytes }: { readonly path: string; readonly sizeBytes: number },
  limits?: QemuImgLimits,
): Promise<void> {
  await create(path, [], sizeBytes, limits);
}

/**
 * Gives an overlay that nobody uses another backing file without changing what the guest sees: blocks that differ
 * are copied up first, the header last, so that it can be killed and repeated. Without `backing` it stands alone.
 */
export async function rebaseOverlay(
  { path, backing, backingFormat }: { path: string; backing?: string; backingFormat?: DiskFormat },
  limits: QemuImgLimits = {},
): Promise<void> {
  const onto =
    backing === undefined ? ["-b", ""] : ["-b", filePath(backing), "-F", backingFormat ?? refuseUnknownFormat(backing)];
  await qemuImg(["rebase", "-f", "qcow2", ...onto, filePath(path)], { ...LONG, ...limits });
}

/** Writes an unused overlay's blocks down into `base` (of its own chain); the overlay stays as it is. */
export async function commitOverlay(
  { path, base }: { readonly path: string; readonly base: string },
  limits: QemuImgLimits = {},
): Promise<void> {
  await qemuImg(["commit", "-f", "qcow2", "-d", "-b", filePath(base), filePath(path)], { ...LONG, ...limits });
}

async function create(path: string, options: string[], sizeBytes: number | undefined, limits?: QemuImgLimits) {
  const unfinished = `${filePath(path)}.tmp-${randomUUID()}`;
  try {
    const size = sizeBytes === undefined ? [] : [String(sizeBytes)];
    await qemuImg(["create", "-q", "-f", "qcow2", ...options, unfinished, ...size], limits);
    await sync(unfinished);
    // A link, unlike a rename, fails where a file exists.
    await link(unfinished, path);
  } catch (error) {
    if (error instanceof StillpointError) throw error;
    throw new StillpointError("INTERNAL", `cannot create the disk ${path}`, { cause: error });
  } finally {
    await rm(unfinished, { force: true });
  }
  await sync(dirname(path));
}

/** Makes a file, or the names in a folder, survive a power cut. */
export async function sync(path: string): Promise<void> {
  await using file = await open(path, "r");
  await file.sync();
}

function refuseUnknownFormat(backing: string): never {
  throw new StillpointError("ARGUMENT_INVALID", `the format of ${backing} must be said`);
}
