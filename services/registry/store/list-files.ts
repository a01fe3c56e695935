import type { Dirent } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { absentAsUndefined } from "./storage-errors.ts";

/**
 * The paths of the files below `root` that begin with `prefix` and stand after `after`, in the order of their code
 * units; folders that hold none of them are not read.
 */
export async function* listFiles(root: string, prefix: string, after: string): AsyncIterable<string> {
  const end = prefix.lastIndexOf("/");
  yield* below(root, { folder: prefix.slice(0, end + 1), prefix, after });
}

interface Below {
  /** Empty, or ends with a slash. */
  readonly folder: string;
  readonly prefix: string;
  readonly after: string;
}

async function* below(root: string, { folder, prefix, after }: Below): AsyncIterable<string> {
  const entries = (await readdir(join(root, folder), { withFileTypes: true }).catch(absentAsUndefined)) ?? [];
  const wanted = pathsInOrder(entries, folder).filter((path) => path.startsWith(prefix) || prefix.startsWith(path));
  for (const path of wanted.filter((path) => path > after || after.startsWith(path))) {
    if (path.endsWith("/")) yield* below(root, { folder: path, prefix, after });
    else if (path > after) yield path;
  }
}

/** A folder stands where its files stand: as its name with a slash. */
function pathsInOrder(entries: readonly Dirent[], folder: string): string[] {
  return entries.map((entry) => `${folder}${entry.name}${entry.isDirectory() ? "/" : ""}`).sort(byCodeUnit);
}

function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : 1;
}
