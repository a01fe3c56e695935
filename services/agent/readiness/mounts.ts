import type { Mount } from "#contracts/vm/v1/vm";

/** A mounted file system on a disk, as guest-get-fsinfo tells it. */
export interface GuestFileSystem {
  readonly mountpoint: string;
  readonly type: string;
}

const MOST_MOUNTS = 256;
/** With a freeze_fs or freeze_super in Linux; NTFS and ReFS by VSS. */
const FREEZABLE = "ext2 ext3 ext4 xfs btrfs f2fs jfs nilfs2 reiserfs gfs2 bcachefs ntfs refs".split(" ");
/** Nothing can be written to them, so nothing is lost. */
const READ_ONLY = "squashfs iso9660 erofs cramfs romfs cdfs".split(" ");
const BOOT = ["/boot", "/boot/efi", "/efi"];

/** The guest's mounts, and whether a freeze holds each. Pure. */
export function mountsOf(fileSystems: readonly GuestFileSystem[]): Mount[] {
  return fileSystems.slice(0, MOST_MOUNTS).map(({ mountpoint, type }) => {
    const why = whyNotFreezable(type.toLowerCase());
    return { path: mountpoint, type, freezable: why === "", why };
  });
}

function whyNotFreezable(type: string): string {
  if (FREEZABLE.includes(type)) return "";
  return READ_ONLY.includes(type) ? "read-only by its nature" : "not known to support freezing";
}

/** Mounts whose content a checkpoint may catch half-written; what only an update of the boot loader writes is none. */
export function unheldMounts(mounts: readonly Mount[]): Mount[] {
  return mounts.filter(
    ({ path, type, freezable }) =>
      !freezable && !READ_ONLY.includes(type.toLowerCase()) && !(BOOT.includes(path) && type === "vfat"),
  );
}
