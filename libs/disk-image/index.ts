/**
 * The one door to disk image files. Nothing else starts qemu-img: here the format is always said, the header is
 * read by our own code first, and the process has limits and a deadline.
 */
export { checkImage } from "./check-image.ts";
export { changedRanges, dataRanges, type GuestRange, readGuestBytes } from "./contents.ts";
export { flattenDisk } from "./flatten.ts";
export { type GuestDisk, type OpenGuestDisk, openGuestDisk, removeDeadSockets } from "./guest-disk.ts";
export type { DiskFormat, ImageFormat } from "./image-format.ts";
export { DEFAULT_MAX_VIRTUAL_SIZE_BYTES, inspectImage } from "./inspect-image.ts";
export { backingName, commitOverlay, createEmpty, createOverlay, standOn, standsOn } from "./overlays.ts";
export { type RawDiskWanted, rawDiskOf } from "./raw-disk.ts";
export { dataPieces, isZero } from "./zeros.ts";
