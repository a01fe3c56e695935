import { randomUUID } from "node:crypto";
import { link, open, rm } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { StillpointError } from "#libs/errors";
import type { DiskFormat } from "./image-format.ts";
import { inspectQcow2Header } from "./inspect-image.ts";
import { filePath, LONG, type QemuImgLimits, qemuImg } from "./qemu-img.ts";

interface Overlay {
  readonly path: string;
  /** Absolute path of the file below; never written to. */
  readonly backing: string;
  readonly backingFormat: DiskFormat;
  /**
   * At least the backing file's virtual size; that size when left out. Given, the files below are not opened: a long
   * chain costs nothing.
   */
  readonly sizeBytes?: number;
}

/**
 * A new qcow2 file over another, which it names relatively where both lie in one folder: so a chain of hard links is
 * whole in another folder. Durable, and there as a whole or not at all.
 * @throws StillpointError INTERNAL when `path` exists already: a disk is never overwritten
 */
export async function createOverlay(overlay: Overlay, limits?: QemuImgLimits): Promise<void> {
  const { path, backing, backingFormat, sizeBytes } = overlay;
  const unopened = sizeBytes === undefined ? [] : ["-u"];
  await create(path, [...unopened, "-b", backingName(path, backing), "-F", backingFormat], sizeBytes, limits);
}

/** A new empty qcow2 disk; durable, whole or not at all, never over an existing file. */
export async function createEmpty(
  { path, sizeBytes }: { readonly path: string; readonly sizeBytes: number },
  limits?: QemuImgLimits,
): Promise<void> {
  await create(path, [], sizeBytes, limits);
}

/** How an overlay names the file below: by its name alone when it lies beside it. */
export function backingName(path: string, backing: string): string {
  return dirname(path) === dirname(backing) ? `./${basename(backing)}` : filePath(backing);
}

/** Whether an overlay names `backing` as the file below. */
export async function standsOn(path: string, backing: string): Promise<boolean> {
  return (await inspectQcow2Header(path)).backingFile === backingName(path, backing);
}

/** Changes which file an unused overlay's header names as the one below (null: none), and nothing else. */
export async function standOn(
  path: string,
  below: Pick<Overlay, "backing" | "backingFormat"> | null,
  limits?: QemuImgLimits,
): Promise<void> {
  const named = below === null ? ["-b", ""] : ["-b", backingName(path, below.backing), "-F", below.backingFormat];
  await qemuImg(["rebase", "-u", "-f", "qcow2", ...named, filePath(path)], limits);
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
