import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeDurably } from "../durable-file.ts";
import type { Reserve } from "../reserve.ts";

/** The highest epoch of an owner that this host has believed, on disk. */
export interface EpochFile {
  readonly epoch: number;
  readonly save: (epoch: number) => Promise<void>;
}

/** @throws SyntaxError when the file is not what was written */
export async function openEpochFile(data: string, reserve: Pick<Reserve, "spend">): Promise<EpochFile> {
  const path = join(data, "lease.json");
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return '{"epoch":0}';
    throw error;
  });
  const { epoch } = JSON.parse(text) as { readonly epoch: number };
  return { epoch, save: (next) => reserve.spend(() => writeDurably(path, JSON.stringify({ epoch: next }))) };
}
