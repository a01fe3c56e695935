/**
 * The one door to disk image files. Nothing else starts qemu-img: here the format is always said, the header is
 * read by our own code first, and the process has limits and a deadline.
 */
export { backingChain, type ChainLink, type DiskInfo, diskInfo } from "./backing-chain.ts";
export { type CheckResult, checkImage } from "./check-image.ts";
export { convertToRaw, dataRanges, type GuestRange, readGuestBytes } from "./contents.ts";
export { type DiskFormat, detectFormat } from "./image-format.ts";
export { DEFAULT_MAX_VIRTUAL_SIZE_BYTES, type ImageInfo, inspectImage, inspectQcow2Header } from "./inspect-image.ts";
export { commitOverlay, createEmpty, createOverlay, rebaseOverlay } from "./overlays.ts";
export { parseQcow2Header, type Qcow2Header } from "./qcow2-header.ts";
