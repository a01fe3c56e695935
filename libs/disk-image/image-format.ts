import { StillpointError } from "#libs/errors";

/** The two formats that we keep disks in. */
export type DiskFormat = "raw" | "qcow2";

/** What `image import` takes; an OVA is an archive with disks in it. */
export type ImageFormat = "raw" | "qcow2" | "vmdk" | "vhdx" | "vhd" | "ova";

/** Those that hold one disk. */
export type SingleDiskFormat = Exclude<ImageFormat, "ova">;

interface Magic {
  readonly at: number;
  readonly bytes: Buffer;
}

const knownMagics: readonly (Magic & { readonly format: ImageFormat })[] = [
  { format: "qcow2", at: 0, bytes: Buffer.from([0x51, 0x46, 0x49, 0xfb]) },
  { format: "vmdk", at: 0, bytes: Buffer.from("KDMV") },
  { format: "vhdx", at: 0, bytes: Buffer.from("vhdxfile") },
  { format: "vhd", at: 0, bytes: Buffer.from("conectix") },
  // POSIX.1-1988 ustar; GNU tar has two spaces behind it.
  { format: "ova", at: 257, bytes: Buffer.from("ustar") },
];

const foreignMagics: readonly (Magic & { readonly what: string })[] = [
  { what: "a VMDK descriptor", at: 0, bytes: Buffer.from("# Disk DescriptorFile") },
  { what: "a VMDK extent of ESX", at: 0, bytes: Buffer.from("COWD") },
  { what: "a VMDK extent of ESX", at: 0, bytes: Buffer.from([0xbe, 0xba, 0xfe, 0xca, 0, 0, 0, 0]) },
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

/**
 * The format of an image that a user hands in, by our own look at its first bytes (512 are enough). Only for
 * import: a disk that a guest has written to is never probed, its format is in our records.
 * @throws StillpointError IMAGE_INVALID for formats that are not supported, with their name
 */
export function detectFormat(head: Buffer): ImageFormat {
  const matches = ({ at, bytes }: Magic) => head.subarray(at, at + bytes.length).equals(bytes);
  const known = knownMagics.find(matches);
  if (known !== undefined) return known.format;
  const foreign = foreignMagics.find(matches);
  if (foreign === undefined) return "raw";
  const { what } = foreign;
  throw new StillpointError("IMAGE_INVALID", `this is ${what}, which cannot be imported`, { help: adviceOn(what) });
}

function adviceOn(what: string): string {
  if (what.endsWith("data")) return "Decompress it first.";
  const convert = "Convert it on a machine you trust: qemu-img convert -O qcow2 IN OUT.";
  if (!what.includes("VMDK")) return convert;
  return `Its data lies in other files; export the VM as one OVA. ${convert.replace("Convert", "Or convert")}`;
}
