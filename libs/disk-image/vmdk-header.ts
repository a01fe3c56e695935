import { StillpointError } from "#libs/errors";

const SECTOR_BYTES = 512;
/** Where QEMU looks for the name of a parent in a sparse VMDK, and how far (block/vmdk.c). */
const QEMU_DESCRIPTOR = { at: 0x200, bytes: 20 * SECTOR_BYTES };
const MAX_DESCRIPTOR_BYTES = 32_768;
const KINDS = new Set(["monolithicSparse", "streamOptimized"]);

/**
 * Judges a VMDK by its first 64 KiB: only one sparse extent whose descriptor, if there is one, lies inside it and names
 * neither another file nor a parent ("Virtual Disk Format 5.0", all fields little-endian).
 * @throws StillpointError IMAGE_INVALID, IMAGE_DATA_FILE, IMAGE_BACKING_FILE
 */
export function refuseUnsafeVmdk(head: Buffer): void {
  if (head.length < SECTOR_BYTES || head.toString("latin1", 0, 4) !== "KDMV") throw invalid("its header is cut short");
  // Without a capacity QEMU takes the descriptor for a list of files.
  if (head.readBigUInt64LE(12) === 0n) throw otherFiles("its header says that the data lies elsewhere");
  const named = text(head, Number(head.readBigUInt64LE(28)) * SECTOR_BYTES, MAX_DESCRIPTOR_BYTES);
  const seenByQemu = text(head, QEMU_DESCRIPTOR.at, QEMU_DESCRIPTOR.bytes);
  for (const descriptor of new Set([named, seenByQemu])) refuseDescriptor(descriptor);
}

function refuseDescriptor(descriptor: string): void {
  const parent = /^\s*parentCID\s*=\s*([0-9a-f]+)/im.exec(descriptor)?.[1];
  if (descriptor.includes("parentFileNameHint") || !/^(f{8})?$/i.test(parent ?? "")) {
    throw new StillpointError("IMAGE_BACKING_FILE", "this VMDK is a difference to a parent; an image must stand alone");
  }
  const kind = /^\s*createType\s*=\s*"([^"\n]*)"/im.exec(descriptor)?.[1];
  if (kind !== undefined && !KINDS.has(kind)) throw otherFiles(`it is of type ${kind}`);
  const extents = descriptor.match(/^\s*(RW|RDONLY|NOACCESS)\s+\d+\s+\S+/gim) ?? [];
  if (extents.length > 1 || extents.some((extent) => !/\sSPARSE$/i.test(extent))) {
    throw otherFiles("its descriptor names other files");
  }
}

/** Up to the first NUL; a place outside of `head` is refused. */
function text(head: Buffer, at: number, maxBytes: number): string {
  if (at === 0) return "";
  if (at >= head.length) throw invalid("its descriptor is not at its start");
  const bytes = head.subarray(at, at + maxBytes);
  const end = bytes.indexOf(0);
  return bytes.toString("latin1", 0, end === -1 ? bytes.length : end);
}

function otherFiles(why: string): StillpointError {
  const message = `this VMDK keeps its data in other files (${why}); an image must stand alone`;
  return new StillpointError("IMAGE_DATA_FILE", message, { help: "Export the VM as one OVA, or: qemu-img convert." });
}

function invalid(why: string): StillpointError {
  return new StillpointError("IMAGE_INVALID", `this VMDK cannot be used: ${why}`);
}
