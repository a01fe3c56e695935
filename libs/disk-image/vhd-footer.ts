import { StillpointError } from "#libs/errors";

export const VHD_FOOTER_BYTES = 512;
const KINDS = { fixed: 2, dynamic: 3, differencing: 4 };

/** Whether 512 bytes are the footer of a VHD ("Virtual Hard Disk Image Format Specification", Microsoft 2006). */
export function isVhdFooter(footer: Buffer): boolean {
  return footer.length === VHD_FOOTER_BYTES && footer.toString("latin1", 0, 8) === "conectix";
}

/** Judges a VHD by its footer (or the copy at its start). @throws StillpointError IMAGE_BACKING_FILE, IMAGE_INVALID */
export function refuseUnsafeVhd(footer: Buffer): void {
  if (!isVhdFooter(footer)) throw new StillpointError("IMAGE_INVALID", "this VHD cannot be used: it has no footer");
  const kind = footer.readUInt32BE(60);
  if (kind === KINDS.differencing) {
    throw new StillpointError("IMAGE_BACKING_FILE", "this VHD is a difference to a parent; an image must stand alone");
  }
  if (kind === KINDS.fixed || kind === KINDS.dynamic) return;
  throw new StillpointError("IMAGE_INVALID", `this VHD cannot be used: its type is ${kind}`);
}
