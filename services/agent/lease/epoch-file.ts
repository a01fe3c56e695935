import { join } from "node:path";
import { writeDurably } from "../durable-file.ts";
import { readHashed, withHash } from "../own-sum.ts";
import type { Reserve } from "../reserve.ts";

/** The highest epoch of an owner that this host has believed, on disk. */
export interface EpochFile {
  readonly epoch: number;
  readonly save: (epoch: number) => Promise<void>;
}

/** @throws StillpointError FILE_DAMAGED when the file is not what was written: whom to believe is not known then */
export async function openEpochFile(data: string, reserve: Pick<Reserve, "spend">): Promise<EpochFile> {
  const path = join(data, "lease.json");
  const read = await readHashed(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return { epoch: 0 };
    throw error;
  });
  const { epoch } = read as { readonly epoch: number };
  return { epoch, save: (next) => reserve.spend(() => writeDurably(path, withHash({ epoch: next }))) };
}
