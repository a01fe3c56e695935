import { access, chmod, chown, rm, stat, statfs } from "node:fs/promises";
import {
  checkImage,
  commitOverlay,
  createEmpty,
  createOverlay,
  flattenDisk,
  readGuestBytes,
  rebaseOverlay,
} from "#libs/disk-image";
import { StillpointError } from "#libs/errors";
import type { DiskStore } from "./ports.ts";

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
    async pullUp(path, below, signal) {
      const onto = below === undefined ? {} : { backing: below.path, backingFormat: below.format };
      await rebaseOverlay({ path, ...onto }, { signal });
    },
    async commit(path, below) {
      await commitOverlay({ path, base: below });
    },
    async flatten(path, target, signal) {
      await flattenDisk({ path, target }, { signal });
    },
    async check(path) {
      const { corruptions } = await checkImage(path);
      if (corruptions === 0) return;
      throw new StillpointError("CHECKPOINT_DAMAGED", `${path} has ${corruptions} wrong entries in its metadata`);
    },
    seal: (path) => chmod(path, 0o400),
    unseal: (path) => chmod(path, 0o600),
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

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
