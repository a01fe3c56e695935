import { stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { StillpointError } from "#libs/errors";
import type { DiskFormat } from "./image-format.ts";
import { inspectQcow2Header } from "./inspect-image.ts";

export interface ChainLink {
  /** Absolute. */
  readonly path: string;
  readonly format: DiskFormat;
  readonly virtualSizeBytes: number;
}

export interface DiskInfo extends ChainLink {
  /** Bytes that the file takes on the host. */
  readonly allocatedBytes: number;
  /** Absolute path of the next file below. */
  readonly backing?: string;
  readonly backingFormat?: DiskFormat;
}

const MAX_LINKS = 1_000;

/** What a disk file of ours says of itself, read from its header by our own code; safe while QEMU uses the file. */
export async function diskInfo(path: string, format: DiskFormat): Promise<DiskInfo> {
  const status = await stat(path);
  const common = { path, format, allocatedBytes: status.blocks * 512 };
  if (format === "raw") return { ...common, virtualSizeBytes: status.size };
  const header = await inspectQcow2Header(path);
  const own = { ...common, virtualSizeBytes: header.virtualSizeBytes };
  if (header.backingFile === undefined) return own;
  return {
    ...own,
    backing: resolve(dirname(path), header.backingFile),
    backingFormat: knownFormat(path, header.backingFormat),
  };
}

/**
 * The files that a disk consists of, top first, base last.
 * @throws StillpointError IMAGE_CORRUPT for a loop, IMAGE_INVALID for a backing file without a known format
 */
export async function backingChain(path: string, format: DiskFormat = "qcow2"): Promise<ChainLink[]> {
  const chain: ChainLink[] = [];
  let next: { path: string; format: DiskFormat } | undefined = { path: resolve(path), format };
  while (next !== undefined) {
    if (chain.length === MAX_LINKS) throw new StillpointError("IMAGE_CORRUPT", `the chain of ${path} has no end`);
    const info: DiskInfo = await diskInfo(next.path, next.format);
    chain.push({ path: info.path, format: info.format, virtualSizeBytes: info.virtualSizeBytes });
    next =
      info.backing === undefined || info.backingFormat === undefined
        ? undefined
        : { path: info.backing, format: info.backingFormat };
  }
  return chain;
}

/** A backing file without a stated format would be probed by QEMU: a guest could choose what it is taken for. */
function knownFormat(path: string, format: string | undefined): DiskFormat {
  if (format === "raw" || format === "qcow2") return format;
  throw new StillpointError("IMAGE_INVALID", `${path} does not say what format its backing file has`);
}
