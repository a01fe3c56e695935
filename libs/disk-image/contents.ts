import { randomUUID } from "node:crypto";
import { type FileHandle, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { StillpointError } from "#libs/errors";
import { checkImage, escapeComma } from "./check-image.ts";
import type { DiskFormat } from "./image-format.ts";
import { sourceArgument } from "./image-source.ts";
import { type ImageInfo, type InspectOptions, inspectImage } from "./inspect-image.ts";
import { filePath, type QemuImgLimits, qemuImg, UNTRUSTED } from "./qemu-img.ts";

/** QEMU counts in these. */
const SECTOR_BYTES = 512;

/** Bytes of the disk as the guest counts them. */
export interface GuestRange {
  readonly offset: number;
  readonly length: number;
}

/**
 * Inspects an image that a user hands in and writes its disk as a sparse raw file to `target`, which must not
 * exist; nothing stays there when it fails.
 * @throws StillpointError of `inspectImage`; IMAGE_CORRUPT when its metadata is damaged or it is cut short,
 * SPACE_INSUFFICIENT
 */
export async function convertToRaw(
  { path, target, ...options }: { readonly path: string; readonly target: string } & InspectOptions,
  limits: QemuImgLimits = {},
): Promise<ImageInfo> {
  const info = await inspectImage(path, options);
  if (info.format === "qcow2") await refuseDamaged(path, limits);
  await (await open(target, "wx", 0o600)).close();
  try {
    const source = sourceArgument({ path, format: info.format });
    const convert = { ...UNTRUSTED, ...limits, reason: "IMAGE_CORRUPT" } as const;
    await qemuImg(["convert", "-q", "-O", "raw", source, filePath(target)], convert);
    return info;
  } catch (error) {
    await rm(target, { force: true });
    throw error;
  }
}

/**
 * Reads a piece of a disk, through its whole chain, also while QEMU has it open. The answer is what is in the files:
 * of a disk that is being written it may be torn.
 */
export async function readGuestBytes(
  { path, format, offset, length }: { path: string; format: DiskFormat } & GuestRange,
  limits: QemuImgLimits = {},
): Promise<Buffer> {
  if (format === "raw") return await readRaw(path, { offset, length });
  // The raw driver cuts a window out of any other; `qemu-img dd` counts differently between versions.
  const below = [`file.driver=${format}`, "file.file.driver=file", `file.file.filename=${escapeComma(filePath(path))}`];
  const start = Math.floor(offset / SECTOR_BYTES) * SECTOR_BYTES;
  const size = Math.ceil((offset + length) / SECTOR_BYTES) * SECTOR_BYTES - start;
  const window = [`driver=raw,offset=${start},size=${size}`, ...below].join(",");
  await using target = await openNameless();
  const targetPath = `/proc/${process.pid}/fd/${target.fd}`;
  await qemuImg(["convert", "-q", "-U", "--image-opts", "-O", "raw", window, targetPath], limits);
  return (await target.readFile()).subarray(offset - start, offset - start + length);
}

/** A temporary file that is gone with the process, however that ends. */
async function openNameless(): Promise<FileHandle> {
  const path = join(tmpdir(), `stillpoint-read-${randomUUID()}`);
  const file = await open(path, "wx+", 0o600);
  await rm(path);
  return file;
}

/** The parts of a disk that hold data, through its chain; everything between reads as zeros. */
export async function dataRanges(path: string, format: DiskFormat, limits: QemuImgLimits = {}): Promise<GuestRange[]> {
  const parts = await mapOf(["-f", format, filePath(path)], limits);
  return parts.filter(({ data, zero }) => data === true && zero !== true).map(rangeOf);
}

/**
 * The parts of a disk that these qcow2 layers alone say anything of, also that they are zeros: what may differ from
 * what lies below them. Only their own tables are read, however large the disk is.
 * @param layers absolute paths, the top first, each standing on the next
 */
export async function changedRanges(layers: readonly string[], limits: QemuImgLimits = {}): Promise<GuestRange[]> {
  if (layers.length === 0) return [];
  const chain = layers.reduceRight<object | null>(
    (backing, path) => ({ driver: "qcow2", file: { driver: "file", filename: filePath(path) }, backing }),
    null,
  );
  return (await mapOf([`json:${JSON.stringify(chain)}`], limits))
    .filter(({ present }) => present === true)
    .map(rangeOf);
}

interface MapPart {
  readonly start?: unknown;
  readonly length?: unknown;
  readonly data?: unknown;
  readonly zero?: unknown;
  readonly present?: unknown;
}

async function mapOf(source: readonly string[], limits: QemuImgLimits): Promise<readonly MapPart[]> {
  const listed: unknown = JSON.parse(await qemuImg(["map", "--output=json", ...source], limits));
  if (Array.isArray(listed)) return listed;
  throw new StillpointError("INTERNAL", "qemu-img map did not answer a list");
}

const rangeOf = ({ start, length }: MapPart): GuestRange => ({ offset: Number(start), length: Number(length) });

async function readRaw(path: string, { offset, length }: GuestRange): Promise<Buffer> {
  await using file = await open(path, "r");
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
  if (bytesRead === length) return buffer;
  throw new StillpointError("IMAGE_CORRUPT", `${path} ends before byte ${offset + length}`);
}

async function refuseDamaged(path: string, limits: QemuImgLimits): Promise<void> {
  const { corruptions } = await checkImage(path, { ...UNTRUSTED, ...limits });
  if (corruptions === 0) return;
  throw new StillpointError("IMAGE_CORRUPT", `${path} is damaged or cut short (${corruptions} errors)`, {
    help: "Get the file again, or repair it: qemu-img check -r.",
  });
}
