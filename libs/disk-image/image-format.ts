import { StillpointError } from "#libs/errors";

/** The two formats that we keep disks in. */
export type DiskFormat = "raw" | "qcow2";

interface Magic {
  readonly what: string;
  readonly at: number;
  readonly bytes: Buffer;
}

const foreignMagics: readonly Magic[] = [
  { what: "a VMDK image", at: 0, bytes: Buffer.from("KDMV") },
  { what: "a VMDK descriptor", at: 0, bytes: Buffer.from("# Disk DescriptorFile") },
  { what: "a VHDX image", at: 0, bytes: Buffer.from("vhdxfile") },
  { what: "a VHD image", at: 0, bytes: Buffer.from("conectix") },
  { what: "a VDI image", at: 0x40, bytes: Buffer.from([0x7f, 0x10, 0xda, 0xbe]) },
  { what: "a QED image", at: 0, bytes: Buffer.from("QED\0") },
  { what: "a Parallels image", at: 0, bytes: Buffer.from("WithoutFreeSpace") },
  { what: "a Parallels image", at: 0, bytes: Buffer.from("WithouFreSpacExt") },
  { what: "a LUKS volume", at: 0, bytes: Buffer.from([0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe]) },
  { what: "gzip data", at: 0, bytes: Buffer.from([0x1f, 0x8b, 0x08]) },
  { what: "xz data", at: 0, bytes: Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]) },
  { what: "zstd data", at: 0, bytes: Buffer.from([0x28, 0xb5, 0x2f, 0xfd]) },
  { what: "bzip2 data", at: 0, bytes: Buffer.from("BZh") },
];

const qcowMagic = Buffer.from([0x51, 0x46, 0x49, 0xfb]);

/**
 * The format of an image that a user hands in, by our own look at its first bytes (128 are enough). Only for
 * import: a disk that a guest has written to is never probed, its format is in our records.
 * @throws StillpointError IMAGE_INVALID for formats that are not supported, with their name
 */
export function detectFormat(head: Buffer): DiskFormat {
  if (head.subarray(0, 4).equals(qcowMagic)) return "qcow2";
  const foreign = foreignMagics.find(({ at, bytes }) => head.subarray(at, at + bytes.length).equals(bytes));
  if (foreign === undefined) return "raw";
  throw new StillpointError("IMAGE_INVALID", `this is ${foreign.what}, not a raw or qcow2 disk`, {
    help: foreign.what.endsWith("data")
      ? "Decompress it first."
      : "Convert it on a machine you trust: qemu-img convert -O qcow2 IN OUT.",
  });
}
