import { rm } from "node:fs/promises";
import { join } from "node:path";
import { StillpointError } from "#libs/errors";
import { convertToRaw } from "./contents.ts";
import type { ImageFormat } from "./image-format.ts";
import { detectFileFormat, inspectImage } from "./inspect-image.ts";
import { extractOvaDisk } from "./ova-disk.ts";

export interface RawDiskWanted {
  /** An image as a user hands it in; not trusted. */
  readonly path: string;
  /** Found out by the content when left out. */
  readonly format?: ImageFormat | undefined;
  /** Which disk of an OVA, by id or file name. */
  readonly disk?: string | undefined;
  /** An empty folder for files on the way; who made it removes it. */
  readonly folder: string;
  /** 2 TiB when left out. */
  readonly maxVirtualSizeBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The path of an image's disk as a raw file: the image itself when that is raw, otherwise a sparse one in `folder`.
 * @throws StillpointError of `inspectImage`, `convertToRaw` and `extractOvaDisk`; ARGUMENT_INVALID
 */
export async function rawDiskOf(wanted: RawDiskWanted): Promise<string> {
  const { path, folder, maxVirtualSizeBytes, signal } = wanted;
  const format = wanted.format ?? (await detectFileFormat(path));
  if (format === "ova") {
    const packed = join(folder, "disk.packed");
    await extractOvaDisk({ path, disk: wanted.disk, target: packed, maxVirtualSizeBytes }, signal);
    const { disk: _disk, format: _format, ...same } = wanted;
    const inside = await detectFileFormat(packed);
    if (inside === "ova") throw new StillpointError("IMAGE_INVALID", `a disk of ${path} is an archive itself`);
    const raw = await rawDiskOf({ ...same, path: packed, format: inside });
    if (raw !== packed) await rm(packed);
    return raw;
  }
  if (wanted.disk !== undefined) {
    throw new StillpointError("ARGUMENT_INVALID", `${path} is one disk, not an OVA: there is none to choose`);
  }
  const options = { maxVirtualSizeBytes, format, signal };
  if (format === "raw") {
    await inspectImage(path, options);
    return path;
  }
  const target = join(folder, "disk.raw");
  await convertToRaw({ path, target, ...options }, { signal });
  return target;
}
