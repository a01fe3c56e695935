import { stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { StillpointError } from "#libs/errors";
import { asSeen, commonFolder, runConfined } from "./confined.ts";

/** Owners, permissions, ACLs, extended attributes, hard links, holes and times to the nanosecond. */
const FAITHFUL = ["-aHAXS", "--numeric-ids", "--modify-window=-1"];
/** rsync's code for files that changed under it; they are copied again by the next pass. */
const CHANGED_MEANWHILE = new Set([23, 24]);
const NO_SPACE = /No space left on device|Disk quota exceeded/;
/** A folder stands in its place, or a link that leads out of the copy, which the next pass sees to. */
const NOT_A_FILE = /: (?:Is a directory|Not a directory|Read-only file system)$/;

export interface CopyOptions {
  /** Programs write to what is copied: what changes meanwhile is left to a later pass. */
  readonly isLive?: boolean;
  /** Copies of what is the same there become hard links to it; it is never written to. */
  readonly linkTo?: string | undefined;
  readonly signal: AbortSignal;
}

/** Makes one folder's content equal another's. A file that is there already and must change is made anew. */
export async function copyTree(from: string, to: string, { isLive, linkTo, signal }: CopyOptions): Promise<void> {
  const seen = linkTo === undefined ? to : commonFolder(to, linkTo);
  const link = linkTo === undefined ? [] : [`--link-dest=${asSeen(seen, linkTo)}`];
  // What is there may be linked to another checkpoint's: a file that changes under us must not be touched up in place.
  const live = isLive && linkTo === undefined ? ["--ignore-existing"] : [];
  const args = [...FAITHFUL, "--delete", ...link, ...live, "--", "/from/", `${asSeen(seen, to)}/`];
  const { code, stderr } = await runConfined("rsync", args, { sight: { from, to: seen }, signal });
  if (code === 0 || (isLive && CHANGED_MEANWHILE.has(code) && !NO_SPACE.test(stderr))) return;
  throw failed(`copying ${from}`, stderr || `rsync ended with ${code}`);
}

/**
 * Removes from a copy all files that have changed in the original since a time, however they were written: the next
 * pass copies them as a whole. Content that was written through a mapping shows in a file's times only from the next
 * write-back on, so `writeBack` must have come before the copy was made. @param since milliseconds since 1970
 */
export async function dropChanged(original: string, copy: string, since: number, signal: AbortSignal): Promise<void> {
  // The clock of file times is a tick behind.
  const newer = `@${(Math.max(0, since - 100) / 1_000).toFixed(3)}`;
  const search = ["/from", "!", "-type", "d", "-newerct", newer, "-printf", "%P\\0"];
  const { code, stdout, stderr } = await runConfined("find", search, { sight: { from: original }, signal });
  if (code !== 0 && !/No such file/.test(stderr)) throw failed(`looking for changes in ${original}`, stderr);
  if (stdout === "") return;
  // A name is followed in the copy as it was copied: what is a folder now may still be a link there.
  const sight = { to: copy };
  const removed = await runConfined("xargs", ["-0", "rm", "-f", "--"], {
    ...{ sight, input: Buffer.from(stdout, "latin1"), signal },
  });
  const complaints = removed.stderr.split("\n").filter((line) => line !== "" && !NOT_A_FILE.test(line));
  if (complaints.length > 0) throw failed(`making ${copy} ready for what has changed`, complaints.join("\n"));
}

/** Writes back all that is dirty on the file system of a folder. */
export async function writeBack(folder: string, signal: AbortSignal): Promise<void> {
  const { code, stderr } = await runConfined("sync", ["-f", "/to"], { sight: { to: folder }, signal });
  if (code !== 0) throw failed(`writing back ${folder}`, stderr);
}

/** Bytes on disk of a folder that are not those of another that it shares files with. */
export async function ownBytes(folder: string, shared: string | undefined, signal: AbortSignal): Promise<number> {
  const seen = shared === undefined ? folder : commonFolder(folder, shared);
  const folders = [...(shared === undefined ? [] : [shared]), folder].map((path) => asSeen(seen, path));
  const { code, stdout, stderr } = await runConfined("du", ["-s", "-B1", "--", ...folders], {
    ...{ sight: { to: seen }, signal },
  });
  const last = stdout.trimEnd().split("\n").at(-1) ?? "";
  if (code !== 0) throw failed(`measuring ${folder}`, stderr);
  return Number.parseInt(last, 10);
}

/** Bytes of a folder's files as programs see them, holes and all. */
export async function apparentBytes(folder: string, signal: AbortSignal): Promise<number> {
  const { code, stdout, stderr } = await runConfined("du", ["-s", "--apparent-size", "-B1", "--", "/from"], {
    sight: { from: folder },
    signal,
  });
  if (code !== 0) throw failed(`measuring ${folder}`, stderr);
  return Number.parseInt(stdout, 10);
}

/** Of all files that have changed since a time, on disk. */
export async function changedBytes(folder: string, since: number, signal: AbortSignal): Promise<number> {
  const args = ["/from", "-type", "f", "-newerct", `@${(since / 1_000).toFixed(3)}`, "-printf", "%b\n"];
  const { stdout } = await runConfined("find", args, { sight: { from: folder }, signal });
  return stdout.split("\n").reduce((sum, blocks) => sum + Number(blocks) * 512, 0);
}

export async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

/** A name beside the copy of a volume that no other volume has. */
export function besideCopy(copy: string, word: string): string {
  return join(dirname(copy), `.${word}-${basename(copy)}`);
}

/** The folder of a volume's files, and names beside it on the same file system. */
export function besideVolume(files: string) {
  const above = join(files, "..");
  return { files, next: join(above, "stillpoint-next"), old: join(above, "stillpoint-old"), above };
}

export function failed(what: string, said: string): StillpointError {
  const words = said.trim().split("\n").slice(0, 3).join("; ");
  return new StillpointError(NO_SPACE.test(said) ? "SPACE_INSUFFICIENT" : "INTERNAL", `${what}: ${words}`);
}
