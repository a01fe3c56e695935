import { chmod } from "node:fs/promises";
import { dirname } from "node:path";
import { type PulledVmImage, pullVmImage, type RegistryClient } from "#libs/oci";
import type { ImageStore } from "./ports.ts";

/** Images pulled from our registry into a folder by digest; one that is missing is pulled again. */
export function createImageStore(folder: string, registry: RegistryClient): ImageStore {
  return {
    async pull(reference, { signal, progress }) {
      const image = await pullVmImage({
        ...{ registry, reference, into: folder, signal },
        onProgress: ({ doneBytes, totalBytes }) => progress({ bytesDone: doneBytes, bytesTotal: totalBytes }),
      });
      await makeReadable(image);
      return image;
    },
    async find(reference) {
      return await pullVmImage({ registry, reference, into: folder });
    },
  };
}

/** Each VM runs as its own user and reads the base from here. */
async function makeReadable({ disk, kernel, initrd }: PulledVmImage): Promise<void> {
  for (const file of [disk, kernel, initrd]) if (file !== undefined) await chmod(file, 0o444);
  await chmod(dirname(disk), 0o711);
}
