import { spawn } from "node:child_process";
import { relative } from "node:path";
import type { Readable, Writable } from "node:stream";
import { StillpointError } from "#libs/errors";

/**
 * Programs that read what a container's own programs write, as root and while they write it. They see nothing of the
 * host but what they are made of: a folder that turns into a symbolic link under them leads nowhere.
 */

const OUTPUT_BYTES = 512 * 2 ** 20;
/** It dies with us: one that outlived us would go on writing to files that are not its own any more. */
const ALONE = ["--die-with-parent", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--dev", "/dev"];
const PROGRAMS = [
  ...["--ro-bind", "/usr", "/usr"],
  ...["/bin", "/lib", "/lib64"].flatMap((folder) => ["--ro-bind-try", folder, folder]),
];

/** What a program sees, by the names that it sees it under. */
export interface Sight {
  /** Seen as /from, and not to be written to. */
  readonly from?: string;
  /** Seen as /to. */
  readonly to?: string;
}

export interface Ended {
  readonly code: number;
  /** latin1, so that names that are not UTF-8 stay whole. */
  readonly stdout: string;
  readonly stderr: string;
}

export interface ConfinedCall {
  readonly sight: Sight;
  readonly input?: Buffer;
  readonly signal: AbortSignal;
}

/** Resolves when the process is gone, also when it was cancelled. */
export async function runConfined(
  program: string,
  args: readonly string[],
  { sight, input, signal }: ConfinedCall,
): Promise<Ended> {
  const given = new AbortController();
  const child = spawnConfined([program, ...args], { sight, signal: AbortSignal.any([signal, given.signal]) });
  try {
    child.stdin.on("error", () => undefined); // it ended before it had read all; how it ended tells why
    child.stdin.end(input);
    const [code, stdout, stderr] = await Promise.all([child.ended, readAll(child.stdout), readAll(child.stderr)]);
    signal.throwIfAborted();
    return { code, stdout, stderr };
  } finally {
    given.abort();
    await child.ended.catch(() => undefined);
  }
}

export interface ConfinedProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Its exit code, when it is gone; 128 when a signal ended it. Fails when it could not be begun. */
  readonly ended: Promise<number>;
}

/** Begins a program that sees no more than that; an abort ends it. */
export function spawnConfined(
  program: readonly string[],
  { sight: { from, to }, signal }: Omit<ConfinedCall, "input">,
): ConfinedProcess {
  signal.throwIfAborted();
  const seen = [
    ...(from === undefined ? [] : ["--ro-bind", from, "/from"]),
    ...(to === undefined ? [] : ["--bind", to, "/to", "--chdir", "/to"]),
  ];
  // A group of its own: bubblewrap alone, ended at its start, would leave its half-made child waiting for it for ever.
  const child = spawn("bwrap", [...ALONE, ...PROGRAMS, ...seen, "--", ...program], {
    ...{ detached: true, stdio: "pipe", env: { PATH: process.env.PATH, LC_ALL: "C" } },
  });
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const cancel = () => endGroup(child.pid);
  signal.addEventListener("abort", cancel, { once: true });
  child.once("error", (cause) => {
    reject(new StillpointError("INTERNAL", `${program[0]} did not run: ${cause.message}`, { cause }));
  });
  child.once("close", (code) => resolve(code ?? 128));
  const ended = promise.finally(() => signal.removeEventListener("abort", cancel));
  ended.catch(() => undefined); // who waits for it is told
  return { stdin: child.stdin, stdout: child.stdout, stderr: child.stderr, ended };
}

function endGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, "SIGKILL");
  } catch {
    // it is gone
  }
}

/** @throws StillpointError INTERNAL when it is more than anybody holds in memory */
async function readAll(stream: Readable): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of stream as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > OUTPUT_BYTES)
      throw new StillpointError("INTERNAL", `a program has printed more than ${OUTPUT_BYTES} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString("latin1");
}

/** The folder above two, which are to be seen in one so that a file can be linked from one into the other. */
export function commonFolder(a: string, b: string): string {
  const parts = a.split("/");
  const others = b.split("/");
  const differ = parts.findIndex((part, index) => part !== others[index]);
  return parts.slice(0, differ < 0 ? parts.length : differ).join("/") || "/";
}

/** What a path below a folder is called by a program that sees the folder as /to. */
export function asSeen(folder: string, path: string): string {
  return `/to/${relative(folder, path)}`;
}
