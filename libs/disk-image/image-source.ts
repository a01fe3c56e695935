import { z } from "zod";
import { isStillpointError, StillpointError } from "#libs/errors";
import type { SingleDiskFormat } from "./image-format.ts";
import { filePath, type QemuImgLimits, qemuImg, UNTRUSTED_LOOK } from "./qemu-img.ts";

/** An image that a user hands in. */
export interface ImageSource {
  /** Absolute. */
  readonly path: string;
  readonly format: SingleDiskFormat;
}

/** How qemu-img is told of such an image: as this one file, whatever the image itself says of a file below it. */
export function sourceArgument({ path, format }: ImageSource): string {
  const file = { driver: "file", filename: filePath(path) };
  if (format === "raw") return `json:${JSON.stringify({ driver: "raw", file })}`;
  return `json:${JSON.stringify({ driver: format === "vhd" ? "vpc" : format, file, backing: null })}`;
}

const shape = z.object({
  "virtual-size": z.int(),
  "backing-filename": z.string().optional(),
  encrypted: z.boolean().optional(),
  "format-specific": z.object({ data: z.object({ extents: z.array(z.unknown()).max(1).optional() }) }).optional(),
});

/**
 * The virtual size of an image as qemu-img reads it.
 * @throws StillpointError IMAGE_CORRUPT when it cannot be opened, IMAGE_BACKING_FILE, IMAGE_INVALID
 */
export async function describeSource(source: ImageSource, limits: QemuImgLimits): Promise<number> {
  const options = { ...UNTRUSTED_LOOK, ...limits, reason: "IMAGE_CORRUPT" } as const;
  const answer = await qemuImg(["info", "--output=json", sourceArgument(source)], options).catch((error: unknown) => {
    throw unopened(source, error);
  });
  const { success, data, error } = shape.safeParse(JSON.parse(answer));
  if (!success) throw new StillpointError("IMAGE_INVALID", `${source.path} is not one whole disk`, { cause: error });
  if (data["backing-filename"] !== undefined) {
    throw new StillpointError("IMAGE_BACKING_FILE", `${source.path} needs a parent; an image must stand alone`);
  }
  if (data.encrypted === true) throw new StillpointError("IMAGE_INVALID", `${source.path} is encrypted`);
  return data["virtual-size"];
}

/** QEMU opens no VHDX that a VM left without closing it or that needs a parent, and its words for that are few. */
function unopened({ format }: ImageSource, error: unknown): unknown {
  if (format !== "vhdx" || !isStillpointError(error, "IMAGE_CORRUPT")) return error;
  const help = "Shut its VM down, merge it with its parent if it has one (Merge-VHD), and copy it again.";
  return new StillpointError("IMAGE_CORRUPT", error.message, { cause: error, help });
}
