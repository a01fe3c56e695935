import { type ExecFileException, execFile } from "node:child_process";
import { isAbsolute } from "node:path";
import { StillpointError } from "#libs/errors";

export interface QemuImgLimits {
  /** Wall-clock time; then the process is killed. */
  readonly deadlineMs?: number;
  /** Processor time in seconds. */
  readonly cpuSeconds?: number;
  /** Of each file in a chain QEMU caches up to 32 MiB of tables. */
  readonly addressSpaceBytes?: number;
  readonly signal?: AbortSignal | undefined;
}

export interface QemuImgResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** For the calls that only read or write metadata. */
const QUICK = { deadlineMs: 30_000, cpuSeconds: 20, addressSpaceBytes: 4 * 2 ** 30 };
/** For the calls that move a disk's data. */
export const LONG: QemuImgLimits = { deadlineMs: 3_600_000, cpuSeconds: 3_600 };
/** For the data of images that a user hands in; the limit that OpenStack's Nova uses. */
export const UNTRUSTED = { ...LONG, addressSpaceBytes: 2 ** 30 } satisfies QemuImgLimits;
/** For a look at one. */
export const UNTRUSTED_LOOK = { ...QUICK, addressSpaceBytes: UNTRUSTED.addressSpaceBytes } satisfies QemuImgLimits;

/** One that outlived us would go on writing to files that are not its own any more. */
const DIES_WITH_US = ["--pdeathsig", "KILL", "--"];

/**
 * Runs qemu-img under prlimit, never through a shell, and answers whatever its exit code is.
 * @throws StillpointError CANCELLED, DEADLINE_EXCEEDED, or INTERNAL when it could not run
 */
export async function tryQemuImg(args: readonly string[], limits: QemuImgLimits = {}): Promise<QemuImgResult> {
  const { deadlineMs, cpuSeconds, addressSpaceBytes, signal } = { ...QUICK, ...limits };
  const limited = [`--as=${addressSpaceBytes}`, `--cpu=${cpuSeconds}`, "--core=0", "--", "qemu-img", ...args];
  const { error, stdout, stderr } = await run([...DIES_WITH_US, "prlimit", ...limited], deadlineMs, signal);
  if (error === null) return { exitCode: 0, stdout, stderr };
  if (typeof error.code === "number") return { exitCode: error.code, stdout, stderr };
  throw notRun(args, error, signal);
}

/** Resolves when the process is gone, also when it was cancelled: until then it may hold its files. */
async function run(args: string[], deadlineMs: number | undefined, signal: AbortSignal | undefined) {
  const { promise, resolve } = Promise.withResolvers<
    { error: ExecFileException | null } & Omit<QemuImgResult, "exitCode">
  >();
  const options = { timeout: deadlineMs, killSignal: "SIGKILL", maxBuffer: 64 * 2 ** 20 } as const;
  const child = execFile("setpriv", args, options, (error, stdout, stderr) => resolve({ error, stdout, stderr }));
  const cancel = () => child.kill("SIGKILL");
  signal?.addEventListener("abort", cancel, { once: true });
  if (signal?.aborted) cancel();
  try {
    return await promise;
  } finally {
    signal?.removeEventListener("abort", cancel);
  }
}

/**
 * Runs qemu-img and answers its output.
 * @throws StillpointError SPACE_INSUFFICIENT; `reason` with its own words when it fails otherwise
 */
export async function qemuImg(
  args: readonly string[],
  limits: QemuImgLimits & { readonly reason?: "IMAGE_INVALID" | "IMAGE_CORRUPT" | "INTERNAL" } = {},
): Promise<string> {
  const { exitCode, stdout, stderr } = await tryQemuImg(args, limits);
  if (exitCode === 0) return stdout;
  if (stderr.includes("No space left on device")) {
    throw new StillpointError("SPACE_INSUFFICIENT", `qemu-img ${args[0]} found no room: ${stderr.trim()}`);
  }
  throw new StillpointError(limits.reason ?? "INTERNAL", `qemu-img ${args[0]} failed: ${stderr.trim() || exitCode}`);
}

/**
 * Guards every file name that reaches qemu-img: an absolute one can neither be an option nor a protocol
 * (`json:`, `nbd:`).
 */
export function filePath(path: string): string {
  if (!isAbsolute(path) || path.includes("\0")) {
    throw new StillpointError("ARGUMENT_INVALID", `the path of a disk must be absolute: ${path}`);
  }
  return path;
}

function notRun(args: readonly string[], error: ExecFileException, signal: AbortSignal | undefined): StillpointError {
  const what = `qemu-img ${args[0]}`;
  if (signal?.aborted) return new StillpointError("CANCELLED", `${what} was cancelled`, { cause: error });
  if (error.killed || error.signal === "SIGXCPU" || error.signal === "SIGKILL") {
    return new StillpointError("DEADLINE_EXCEEDED", `${what} took too long`, { cause: error });
  }
  return new StillpointError("INTERNAL", `${what} could not run`, {
    cause: error,
    help: "Check that qemu-utils and util-linux are installed.",
  });
}
