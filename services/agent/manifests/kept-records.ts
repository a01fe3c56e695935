import { createHash } from "node:crypto";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { KeptRecord } from "#contracts/host/v1/agent";
import { writeDurably } from "../durable-file.ts";

const FOLDER = "kept";

/** As a file has it; without a message it is known to be gone. */
interface Kept {
  readonly name: string;
  readonly version: number;
  readonly message?: unknown;
}

/**
 * Keeps copies of records in a folder of the host's, one file each; an older state never replaces a newer one. Of a
 * record that is gone its name and version stay, so that no late copy brings it back. False when the folder is removed
 * meanwhile: it is not made again.
 */
export async function keepRecords(root: string, records: readonly KeptRecord[]): Promise<boolean> {
  try {
    await writeAll(join(root, FOLDER), records);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

async function writeAll(folder: string, records: readonly KeptRecord[]): Promise<void> {
  await mkdir(folder, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
  for (const { name, version, message, deleted } of records) {
    const path = join(folder, `${createHash("sha256").update(name).digest("hex").slice(0, 32)}.json`);
    const before = await readKept(path);
    if (before !== undefined && before.version >= version) continue;
    const kept: Kept = { name, version, ...(!deleted && { message: JSON.parse(Buffer.from(message).toString()) }) };
    await writeDurably(path, JSON.stringify(kept));
  }
}

/** The copies in that folder; one that cannot be read is left out, as if it had never come. */
export async function keptRecords(root: string): Promise<KeptRecord[]> {
  const folder = join(root, FOLDER);
  const files = await readdir(folder).catch(() => []);
  const all = await Promise.all(files.filter(isWhole).map((file) => readKept(join(folder, file))));
  return all
    .filter((kept) => kept !== undefined)
    .map(({ name, version, message }) => ({
      ...{ name, version, deleted: message === undefined },
      message: message === undefined ? new Uint8Array() : Buffer.from(JSON.stringify(message)),
    }));
}

const isWhole = (file: string): boolean => file.endsWith(".json");

async function readKept(path: string): Promise<Kept | undefined> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as Kept;
  } catch {
    return undefined;
  }
}
