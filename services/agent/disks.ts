import { access, chmod, chown, open, rm, stat, statfs } from "node:fs/promises";
import {
  checkImage,
  commitOverlay,
  createEmpty,
  createOverlay,
  flattenDisk,
  readGuestBytes,
  standOn,
  standsOn,
} from "#libs/disk-image";
import { StillpointError } from "#libs/errors";
import type { DiskStore } from "./ports.ts";
import { pullUpOffline, pushDownOffline } from "./qemu/storage-daemon.ts";

/** Disk files in a local folder, through qemu-img. */
export function createLocalDisks(folder: string): DiskStore {
  return {
    async create({ path, below, sizeBytes, processUid }) {
      if (!(await exists(path))) {
        const size = sizeBytes === 0 ? {} : { sizeBytes };
        if (below === undefined) await createEmpty({ path, sizeBytes });
        else await createOverlay({ path, backing: below.path, backingFormat: below.format, ...size });
      }
      await chmod(path, 0o600);
      if (processUid !== null) await chown(path, processUid, processUid);
    },
    pullUp: pullUpOffline,
    pushDown: pushDownOffline,
    standsOn,
    async restOn(path, below) {
      await standOn(path, { backing: below, backingFormat: "qcow2" });
      await using file = await open(path, "r");
      await file.datasync();
    },
    async commit(path, below) {
      await commitOverlay({ path, base: below });
    },
    async flatten(path, target, signal) {
      await flattenDisk({ path, target }, { signal });
    },
    async check(path, signal) {
      const { corruptions } = await checkImage(path, { signal });
      if (corruptions === 0) return;
      throw new StillpointError("CHECKPOINT_DAMAGED", `${path} has ${corruptions} wrong entries in its metadata`);
    },
    async seal(path) {
      const self = process.getuid?.() ?? 0;
      const { uid, mode } = await stat(path);
      if (uid !== self) await chown(path, self, self);
      // What is sealed already is not touched: that would change how it looks.
      if ((mode & 0o777) !== 0o444) await chmod(path, 0o444);
    },
    async unseal(path, processUid) {
      if (await isShared(path)) throw new StillpointError("INTERNAL", `${path} belongs to another workload too`);
      if (processUid !== null) await chown(path, processUid, processUid);
      await chmod(path, 0o600);
    },
    isShared,
    async freeBytes() {
      const { bavail, bsize } = await statfs(folder);
      return bavail * bsize;
    },
    async usedBytes(path) {
      return (await stat(path)).blocks * 512;
    },
    remove: (path) => rm(path, { force: true }),
    read: (path, offset, length) => readGuestBytes({ path, format: "qcow2", offset, length }),
  };
}

async function isShared(path: string): Promise<boolean> {
  return (await stat(path)).nlink > 1;
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
