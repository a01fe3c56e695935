import { open, readFile, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { damagedFile, lacksItsEnd, withoutSum, withSum } from "./own-sum.ts";

/** Lines that outlive the agent. */
export interface Lines {
  /**
   * Those that were written. Who gives `damaged` is told of each line that is not what was written, and goes without it.
   * @throws StillpointError FILE_DAMAGED
   */
  read(damaged?: () => void): Promise<string[]>;
  /** Durable once it resolves, unless it is said to be `lossy`. */
  append(line: string, options?: { readonly lossy?: boolean }): Promise<void>;
  /** Puts one line in the place of all. */
  replace(line: string): Promise<void>;
}

/** Those of a file. */
export const linesIn = (path: string): Lines => ({
  read: async (damaged) => {
    const refuse = () => {
      throw damagedFile(path);
    };
    const lines = (await readLines(path)).map(withoutSum);
    for (const line of lines) if (line === undefined) (damaged ?? refuse)();
    return lines.filter((line) => line !== undefined);
  },
  append: (line, options) => appendLine(path, withSum(line), options),
  replace: (line) => writeDurably(path, `${withSum(line)}\n`),
});

/** Replaces a file as a whole: after a crash it holds the old text or the new, never a part, and the new once this resolves. */
export async function writeDurably(path: string, text: string): Promise<void> {
  const unfinished = `${path}.tmp`;
  try {
    await using file = await open(unfinished, "w", 0o600);
    await file.writeFile(text);
    await file.datasync();
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
  await rename(unfinished, path);
  await syncFolder(dirname(path));
}

/**
 * The lines of a file that is only appended to; none when there is no file. A last line without an end was being
 * written when its writer died: it is removed, so that the next one does not join it.
 */
async function readLines(path: string): Promise<string[]> {
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "";
    throw error;
  });
  const whole = text.slice(0, text.lastIndexOf("\n") + 1);
  if (lacksItsEnd(text.slice(whole.length))) return text.split("\n");
  if (whole.length < text.length) await writeDurably(path, whole);
  return whole.split("\n").slice(0, -1);
}

/**
 * Adds a line to a file, durably unless it is said to be `lossy`: then a power cut may take it, and no more than it.
 * On a full disk none of it stays, so that the next line does not join it.
 */
export async function appendLine(path: string, line: string, { lossy = false } = {}): Promise<void> {
  await using file = await open(path, "a", 0o600);
  const { size } = await file.stat();
  try {
    await file.appendFile(`${line}\n`);
    if (!lossy) await file.datasync();
  } catch (error) {
    await file.truncate(size);
    throw error;
  }
}

/** Makes the names in a folder (new, renamed, removed files) survive a power cut. */
export async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, "r");
  await folder.sync();
}
