import { createHash } from "node:crypto";
import { text } from "node:stream/consumers";
import { StillpointError } from "#libs/errors";
import { runConfined, spawnConfined } from "./confined.ts";
import { failed } from "./files.ts";

/** What a file is beside its content: as copies keep it, but for attributes that belong to one host. */
const FAITHFUL = [
  ...["--numeric-owner", "--acls", "--xattrs", "--xattrs-include=user.*", "--xattrs-include=security.capability"],
];
/** Always the same bytes for the same files: sorted, without the times that reading or linking changes. */
const SAME = [
  ...["--format=posix", "--sort=name", "--no-wildcards"],
  "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
];
const UNPACK = ["--preserve-permissions", "--same-owner", "--delay-directory-restore", "--ignore-zeros"];

/** The files of a folder as a stream. */
export interface Archive {
  readonly archive: AsyncIterable<Buffer>;
  /** sha256 of what was read. */
  digest(): string;
}

/** Reads a folder as a tar archive. @param signal ends it */
export function archiveOf(folder: string, signal: AbortSignal): Archive {
  return archiveBy(["tar"], folder, signal);
}

/** The digest of a folder's files: content, names, owners, permissions and times of change. */
export async function digestOfFiles(folder: string, signal: AbortSignal, isUrgent = true): Promise<string> {
  const read = archiveBy(isUrgent ? ["tar"] : GIVING_WAY, folder, signal);
  for await (const _piece of read.archive) signal.throwIfAborted();
  return read.digest();
}

const GIVING_WAY = ["nice", "-n", "19", "tar"];

function archiveBy(program: readonly string[], folder: string, outer: AbortSignal): Archive {
  const hash = createHash("sha256");
  const given = new AbortController();
  const signal = AbortSignal.any([outer, given.signal]);
  let isWhole = false;
  async function* read(): AsyncGenerator<Buffer> {
    const args = ["-c", ...SAME, ...FAITHFUL, "-C", "/from", "-f", "-", "."];
    const child = spawnConfined([...program, ...args], { sight: { from: folder }, signal });
    try {
      child.stdin.destroy();
      const errors = text(child.stderr);
      errors.catch(() => undefined); // it is waited for below, unless an abort comes first
      for await (const piece of child.stdout as AsyncIterable<Buffer>) {
        hash.update(piece);
        yield piece;
      }
      const code = await child.ended;
      outer.throwIfAborted();
      if (code !== 0) throw failed(`reading ${folder}`, (await errors) || `tar ended with ${code}`);
      isWhole = true;
    } finally {
      given.abort();
      await child.ended.catch(() => undefined);
    }
  }
  return {
    archive: read(),
    digest() {
      if (isWhole) return `sha256:${hash.digest("hex")}`;
      throw new StillpointError("INTERNAL", `${folder} was not read to its end`);
    },
  };
}

/** Unpacks an archive into an empty folder. @throws StillpointError IMAGE_INVALID, SPACE_INSUFFICIENT */
export async function unpack(path: string, folder: string, signal: AbortSignal): Promise<void> {
  const args = ["-x", ...UNPACK, ...FAITHFUL, "-C", "/to", "-f", "/from"];
  const { code, stderr } = await runConfined("tar", args, { sight: { from: path, to: folder }, signal });
  if (code === 0) return;
  const error = failed(`unpacking ${path}`, stderr);
  if (error.reason === "SPACE_INSUFFICIENT") throw error;
  throw new StillpointError("IMAGE_INVALID", error.message);
}
