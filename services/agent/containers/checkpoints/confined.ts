import { type ExecFileException, execFile } from "node:child_process";
import { relative } from "node:path";
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

/** The arguments that bubblewrap runs a program with, so that it sees no more than that. */
export function confinement({ from, to }: Sight, program: readonly string[]): string[] {
  const seen = [
    ...(from === undefined ? [] : ["--ro-bind", from, "/from"]),
    ...(to === undefined ? [] : ["--bind", to, "/to", "--chdir", "/to"]),
  ];
  return [...ALONE, ...PROGRAMS, ...seen, "--", ...program];
}

/** Resolves when the process is gone, also when it was cancelled. */
export async function runConfined(
  program: string,
  args: readonly string[],
  { sight, input, signal }: ConfinedCall,
): Promise<Ended> {
  signal.throwIfAborted();
  const { promise, resolve } = Promise.withResolvers<Ended & { readonly error: ExecFileException | null }>();
  const options = {
    maxBuffer: OUTPUT_BYTES,
    encoding: "latin1",
    env: { PATH: process.env.PATH, LC_ALL: "C" },
  } as const;
  const child = execFile("bwrap", confinement(sight, [program, ...args]), options, (error, stdout, stderr) =>
    resolve({ error, stdout, stderr, code: typeof error?.code === "number" ? error.code : 0 }),
  );
  child.stdin?.on("error", () => undefined); // it ended before it had read all; how it ended tells why
  child.stdin?.end(input);
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
