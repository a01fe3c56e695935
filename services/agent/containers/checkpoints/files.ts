import { type ExecFileException, execFile } from "node:child_process";
import { stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { StillpointError } from "#libs/errors";

/** Owners, permissions, ACLs, extended attributes, hard links, holes and times to the nanosecond. */
const FAITHFUL = ["-aHAXS", "--numeric-ids", "--modify-window=-1"];
/** One that outlived us would go on writing to files that are not its own any more. */
const DIES_WITH_US = ["--pdeathsig", "KILL", "--"];
/** rsync's code for files that changed under it; they are copied again by the next pass. */
const CHANGED_MEANWHILE = new Set([23, 24]);
const NO_SPACE = /No space left on device|Disk quota exceeded/;
/** Not copied yet, or a folder stands in its place: the next pass sees to it. */
const NOT_A_FILE = new Set(["ENOENT", "ENOTDIR", "EISDIR", "EPERM"]);
const OUTPUT_BYTES = 512 * 2 ** 20;

export interface CopyOptions {
  /** Programs write to what is copied: what changes meanwhile is left to a later pass. */
  readonly isLive?: boolean;
  /** Copies of what is the same there become hard links to it; it is never written to. */
  readonly linkTo?: string | undefined;
  readonly signal: AbortSignal;
}

/** Makes one folder's content equal another's. A file that is there already and must change is made anew. */
export async function copyTree(from: string, to: string, { isLive, linkTo, signal }: CopyOptions): Promise<void> {
  const link = linkTo === undefined ? [] : [`--link-dest=${linkTo}`];
  // What is there may be linked to another checkpoint's: a file that changes under us must not be touched up in place.
  const live = isLive && linkTo === undefined ? ["--ignore-existing"] : [];
  const args = [...FAITHFUL, "--delete", ...link, ...live, "--", `${from}/`, `${to}/`];
  const { code, stderr } = await run("rsync", args, signal);
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
  const args = [original, "!", "-type", "d", "-newerct", newer, "-printf", "%P\\0"];
  const { code, stdout, stderr } = await run("find", args, signal);
  if (code !== 0 && !/No such file/.test(stderr)) throw failed(`looking for changes in ${original}`, stderr);
  for (const path of stdout.split("\0").filter(Boolean)) {
    const bytes = Buffer.from(path, "latin1");
    await unlink(Buffer.concat([Buffer.from(`${copy}/`), bytes])).catch((error: NodeJS.ErrnoException) => {
      if (!NOT_A_FILE.has(error.code ?? "")) throw error;
    });
  }
}

/** Writes back all that is dirty on the file system of a folder. */
export async function writeBack(folder: string, signal: AbortSignal): Promise<void> {
  const { code, stderr } = await run("sync", ["-f", "--", folder], signal);
  if (code !== 0) throw failed(`writing back ${folder}`, stderr);
}

/** Bytes on disk of a folder that are not those of another that it shares files with. */
export async function ownBytes(folder: string, shared: string | undefined, signal: AbortSignal): Promise<number> {
  const { code, stdout, stderr } = await run("du", ["-s", "-B1", ...(shared ? [shared] : []), "--", folder], signal);
  const last = stdout.trimEnd().split("\n").at(-1) ?? "";
  if (code !== 0) throw failed(`measuring ${folder}`, stderr);
  return Number.parseInt(last, 10);
}

/** Of all files that have changed since a time, on disk. */
export async function changedBytes(folder: string, since: number, signal: AbortSignal): Promise<number> {
  const args = [folder, "-type", "f", "-newerct", `@${(since / 1_000).toFixed(3)}`, "-printf", "%b\n"];
  const { stdout } = await run("find", args, signal);
  return stdout.split("\n").reduce((sum, blocks) => sum + Number(blocks) * 512, 0);
}

export async function isThere(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

/** The folder of a volume's files, and names beside it on the same file system. */
export function besideVolume(files: string) {
  const above = join(files, "..");
  return { files, next: join(above, "stillpoint-next"), old: join(above, "stillpoint-old"), above };
}

interface Ended {
  readonly code: number;
  /** latin1, so that names that are not UTF-8 stay whole. */
  readonly stdout: string;
  readonly stderr: string;
}

/** Resolves when the process is gone, also when it was cancelled. */
async function run(program: string, args: readonly string[], signal: AbortSignal): Promise<Ended> {
  signal.throwIfAborted();
  const { promise, resolve } = Promise.withResolvers<Ended & { readonly error: ExecFileException | null }>();
  const options = {
    maxBuffer: OUTPUT_BYTES,
    encoding: "latin1",
    env: { PATH: process.env.PATH, LC_ALL: "C" },
  } as const;
  const child = execFile("setpriv", [...DIES_WITH_US, program, ...args], options, (error, stdout, stderr) =>
    resolve({ error, stdout, stderr, code: typeof error?.code === "number" ? error.code : 0 }),
  );
  const cancel = () => child.kill("SIGKILL");
  signal.addEventListener("abort", cancel, { once: true });
  try {
    const ended = await promise;
    signal.throwIfAborted();
    if (ended.error !== null && typeof ended.error.code !== "number") {
      throw new StillpointError("INTERNAL", `${program} did not run: ${ended.error.message}`, { cause: ended.error });
    }
    return ended;
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}

function failed(what: string, said: string): StillpointError {
  const words = said.trim().split("\n").slice(0, 3).join("; ");
  return new StillpointError(NO_SPACE.test(said) ? "SPACE_INSUFFICIENT" : "INTERNAL", `${what}: ${words}`);
}
