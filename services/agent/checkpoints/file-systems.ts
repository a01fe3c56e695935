/** Offset and length of the piece of a disk that `partitionStarts` wants: MBR, GPT header and its first 128 entries. */
export const PARTITION_TABLE_BYTES = 17_408;
/** Where the ext4 superblock begins in its file system, and how much of it is read (ext4 documentation, "Super Block"). */
export const SUPERBLOCK_OFFSET = 1024;
export const SUPERBLOCK_BYTES = 1024;

const SECTOR = 512;
const GPT_ENTRIES_AT = 2 * SECTOR;

/**
 * Where file systems may begin on a disk, in bytes: its first byte, and its partitions' (GPT, else the primary ones
 * of an MBR).
 */
export function partitionStarts(head: Buffer): number[] {
  if (head.length < PARTITION_TABLE_BYTES || head.readUInt16LE(510) !== 0xaa55) return [0];
  const isGpt = head.toString("latin1", SECTOR, SECTOR + 8) === "EFI PART";
  return [0, ...(isGpt ? gptStarts(head) : mbrStarts(head))];
}

/**
 * Whether an ext4 file system was at rest: `needs_recovery` (incompatible feature 0x4, at 0x60) is set while its
 * journal may hold something and cleared by a freeze or an unmount. Undefined when it is no ext2, ext3 or ext4.
 */
export function ext4State(superblock: Buffer): "clean" | "needs_recovery" | undefined {
  if (superblock.length < SUPERBLOCK_BYTES || superblock.readUInt16LE(0x38) !== 0xef53) return undefined;
  return (superblock.readUInt32LE(0x60) & 0x4) === 0 ? "clean" : "needs_recovery";
}

/** UEFI specification, "GPT Partition Entry Array": 128 bytes each, type at 0 (zeros: unused), first LBA at 32. */
function gptStarts(head: Buffer): number[] {
  const starts: number[] = [];
  for (let at = GPT_ENTRIES_AT; at + 128 <= head.length; at += 128) {
    const isUsed = head.subarray(at, at + 16).some((byte) => byte !== 0);
    if (isUsed) starts.push(Number(head.readBigUInt64LE(at + 32)) * SECTOR);
  }
  return starts;
}

/** Four entries of 16 bytes at 446: type at 4, first LBA at 8. */
function mbrStarts(head: Buffer): number[] {
  return [446, 462, 478, 494].filter((at) => head[at + 4] !== 0).map((at) => head.readUInt32LE(at + 8) * SECTOR);
}
