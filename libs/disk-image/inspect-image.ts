import { open } from "node:fs/promises";
import { StillpointError } from "#libs/errors";
import { type DiskFormat, detectFormat } from "./image-format.ts";
import { parseQcow2Header, type Qcow2Header } from "./qcow2-header.ts";

/** 2 TiB. */
export const DEFAULT_MAX_VIRTUAL_SIZE_BYTES = 2 * 2 ** 40;

export interface ImageInfo {
  readonly format: DiskFormat;
  /** Size of the disk that a guest sees. */
  readonly virtualSizeBytes: number;
}

const HEAD_BYTES = 65_536;

/**
 * Looks at an image that a user hands in, before any other program does.
 * @throws StillpointError IMAGE_INVALID, IMAGE_BACKING_FILE, IMAGE_DATA_FILE, IMAGE_TOO_LARGE, IMAGE_CORRUPT
 */
export async function inspectImage(
  path: string,
  { maxVirtualSizeBytes = DEFAULT_MAX_VIRTUAL_SIZE_BYTES }: { maxVirtualSizeBytes?: number } = {},
): Promise<ImageInfo> {
  const { head, sizeBytes } = await readHead(path);
  const format = detectFormat(head);
  if (format === "raw") await refuseFixedVhd(path, sizeBytes);
  const virtualSizeBytes = format === "raw" ? sizeBytes : refuseUnsafe(path, parseQcow2Header(head)).virtualSizeBytes;
  if (virtualSizeBytes === 0) throw new StillpointError("IMAGE_INVALID", `${path} is empty`);
  if (virtualSizeBytes > maxVirtualSizeBytes) throw tooLarge(path, virtualSizeBytes, maxVirtualSizeBytes);
  return { format, virtualSizeBytes };
}

/** Reads a qcow2 header without judging backing or data files. @throws StillpointError IMAGE_INVALID */
export async function inspectQcow2Header(path: string): Promise<Qcow2Header> {
  return parseQcow2Header((await readHead(path)).head);
}

/** The first 64 KiB (or less) of a regular file, and its size. @throws StillpointError IMAGE_INVALID */
async function readHead(path: string): Promise<{ head: Buffer; sizeBytes: number }> {
  try {
    await using file = await open(path, "r");
    const status = await file.stat();
    if (!status.isFile()) throw new StillpointError("IMAGE_INVALID", `${path} is not a regular file`);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
    return { head: buffer.subarray(0, bytesRead), sizeBytes: status.size };
  } catch (error) {
    if (error instanceof StillpointError) throw error;
    throw new StillpointError("IMAGE_INVALID", `cannot read ${path}`, { cause: error, help: "Check the file's name." });
  }
}

function refuseUnsafe(path: string, header: Qcow2Header): Qcow2Header {
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

/** A fixed VHD is a raw disk with its mark only in the last 512 bytes. */
async function refuseFixedVhd(path: string, sizeBytes: number): Promise<void> {
  if (sizeBytes < 512) return;
  await using file = await open(path, "r");
  const { buffer } = await file.read(Buffer.alloc(8), 0, 8, sizeBytes - 512);
  detectFormat(buffer.equals(Buffer.from("conectix")) ? buffer : Buffer.alloc(0));
}

function tooLarge(path: string, sizeBytes: number, maxBytes: number): StillpointError {
  return new StillpointError("IMAGE_TOO_LARGE", `${path} is a disk of ${sizeBytes} bytes; the quota is ${maxBytes}`, {
    metadata: { virtualSizeBytes: String(sizeBytes), maxVirtualSizeBytes: String(maxBytes) },
  });
}
