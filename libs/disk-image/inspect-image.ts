import { open } from "node:fs/promises";
import { StillpointError } from "#libs/errors";
import { detectFormat, type ImageFormat, type SingleDiskFormat } from "./image-format.ts";
import { describeSource } from "./image-source.ts";
import { parseQcow2Header, type Qcow2Header } from "./qcow2-header.ts";
import { isVhdFooter, refuseUnsafeVhd, VHD_FOOTER_BYTES } from "./vhd-footer.ts";
import { refuseUnsafeVmdk } from "./vmdk-header.ts";

/** 2 TiB. */
export const DEFAULT_MAX_VIRTUAL_SIZE_BYTES = 2 * 2 ** 40;

export interface ImageInfo {
  readonly format: SingleDiskFormat;
  /** Size of the disk that a guest sees. */
  readonly virtualSizeBytes: number;
}

export interface InspectOptions {
  /** 2 TiB when left out. */
  readonly maxVirtualSizeBytes?: number | undefined;
  /** What to take the file for; found out by its content when left out. */
  readonly format?: SingleDiskFormat | undefined;
  readonly signal?: AbortSignal | undefined;
}

const HEAD_BYTES = 65_536;

/**
 * Looks at an image that a user hands in, before any other program does.
 * @throws StillpointError IMAGE_INVALID, IMAGE_BACKING_FILE, IMAGE_DATA_FILE, IMAGE_TOO_LARGE, IMAGE_CORRUPT
 */
export async function inspectImage(path: string, options: InspectOptions = {}): Promise<ImageInfo> {
  const { maxVirtualSizeBytes = DEFAULT_MAX_VIRTUAL_SIZE_BYTES, signal } = options;
  const ends = await readEnds(path);
  const format = options.format ?? formatOf(ends);
  if (format === "ova") throw new StillpointError("IMAGE_INVALID", `${path} is an archive, not a disk`);
  const virtualSizeBytes = await sizeOf(path, format, ends, signal);
  if (virtualSizeBytes === 0) throw new StillpointError("IMAGE_INVALID", `${path} is empty`);
  if (virtualSizeBytes > maxVirtualSizeBytes) throw tooLarge(path, virtualSizeBytes, maxVirtualSizeBytes);
  return { format, virtualSizeBytes };
}

/** What a file that a user hands in is, by its content. @throws StillpointError IMAGE_INVALID */
export async function detectFileFormat(path: string): Promise<ImageFormat> {
  return formatOf(await readEnds(path));
}

/** Reads a qcow2 header without judging backing or data files. @throws StillpointError IMAGE_INVALID */
export async function inspectQcow2Header(path: string): Promise<Qcow2Header> {
  return parseQcow2Header((await readEnds(path)).head);
}

interface Ends {
  /** At most 64 KiB. */
  readonly head: Buffer;
  /** At most the last 512 bytes. */
  readonly tail: Buffer;
  readonly sizeBytes: number;
}

/** The start and the end of a regular file, and its size. @throws StillpointError IMAGE_INVALID */
async function readEnds(path: string): Promise<Ends> {
  try {
    await using file = await open(path, "r");
    const status = await file.stat();
    if (!status.isFile()) throw new StillpointError("IMAGE_INVALID", `${path} is not a regular file`);
    const read = async (at: number, length: number) => {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, at);
      return buffer.subarray(0, bytesRead);
    };
    const head = await read(0, HEAD_BYTES);
    const tail = await read(Math.max(0, status.size - VHD_FOOTER_BYTES), VHD_FOOTER_BYTES);
    return { head, tail, sizeBytes: status.size };
  } catch (error) {
    if (error instanceof StillpointError) throw error;
    throw new StillpointError("IMAGE_INVALID", `cannot read ${path}`, { cause: error, help: "Check the file's name." });
  }
}

/** A fixed VHD is a raw disk with its mark only in the last 512 bytes. */
function formatOf({ head, tail }: Ends): ImageFormat {
  const format = detectFormat(head);
  return format === "raw" && isVhdFooter(tail) ? "vhd" : format;
}

/** The virtual size, once our own look at the file has found nothing that points out of it. */
async function sizeOf(path: string, format: SingleDiskFormat, { head, tail, sizeBytes }: Ends, signal?: AbortSignal) {
  if (format === "raw") return sizeBytes;
  if (format === "qcow2") return refuseUnsafeQcow2(path, parseQcow2Header(head)).virtualSizeBytes;
  if (format === "vmdk") refuseUnsafeVmdk(head);
  if (format === "vhd") refuseUnsafeVhd(isVhdFooter(head.subarray(0, VHD_FOOTER_BYTES)) ? head.subarray(0, 512) : tail);
  return await describeSource({ path, format }, { signal });
}

function refuseUnsafeQcow2(path: string, header: Qcow2Header): Qcow2Header {
  if (header.backingFile !== undefined) {
    throw new StillpointError("IMAGE_BACKING_FILE", `${path} needs a backing file; an image must stand alone`);
  }
  if (header.usesDataFile) {
    throw new StillpointError("IMAGE_DATA_FILE", `${path} keeps its data in another file; an image must stand alone`);
  }
  if (header.markedCorrupt) {
    throw new StillpointError("IMAGE_CORRUPT", `${path} is marked as corrupt`, {
      help: "Repair it: qemu-img check -r.",
    });
  }
  return header;
}

function tooLarge(path: string, sizeBytes: number, maxBytes: number): StillpointError {
  return new StillpointError("IMAGE_TOO_LARGE", `${path} is a disk of ${sizeBytes} bytes; the quota is ${maxBytes}`, {
    metadata: { virtualSizeBytes: String(sizeBytes), maxVirtualSizeBytes: String(maxBytes) },
  });
}
