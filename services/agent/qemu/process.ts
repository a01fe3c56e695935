import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdir, open, readdir, readFile, readlink, realpath, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { StillpointError } from "#libs/errors";

/** A process that may outlive us: a pid alone may have been given to another one since. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks since boot, /proc/<pid>/stat field 22. */
  readonly startTicks: string;
}

export interface DetachedProcess extends ProcessIdentity {
  /** Resolves with how it ended, when it does while we live. */
  readonly exited: Promise<string>;
}

/**
 * glibc gives each buffer of a block job back to the kernel and gets it anew, page by page (mallopt(3), M_MMAP_THRESHOLD;
 * a job's are 512 KiB). Kept, a merge is more than twice as fast; at most 16 MiB stay with the process.
 */
export const QEMU_MEMORY = { MALLOC_MMAP_THRESHOLD_: "4194304", MALLOC_TRIM_THRESHOLD_: "16777216" } as const;

/** Of our environment, which may hold passwords, QEMU gets nothing but the way to programs. */
export const qemuEnvironment = (): Record<string, string> => ({ PATH: process.env.PATH ?? "", ...QEMU_MEMORY });

export interface DetachedOptions {
  readonly program: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** File for stdout and stderr. */
  readonly log: string;
  readonly uid: number | null;
}

/** Starts a process in a session and, where possible, a cgroup of its own, so that our end is not its end. */
export async function spawnDetached({ program, args, cwd, log, uid }: DetachedOptions): Promise<DetachedProcess> {
  await using output = await open(log, "a", 0o600);
  const user = uid === null ? {} : { uid, gid: uid };
  const env = qemuEnvironment();
  const child = spawn(program, args, { cwd, env, detached: true, stdio: ["ignore", output.fd, output.fd], ...user });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  child.once("spawn", resolve);
  child.once("error", reject);
  const exited = new Promise<string>((done) => {
    child.once("exit", (code, signal) => done(signal === null ? `exit code ${code}` : `signal ${signal}`));
  });
  await promise.catch((cause: unknown) => {
    throw new StillpointError("QEMU_FAILED", `cannot start ${program}`, { cause, help: "Check that it is installed." });
  });
  child.unref();
  const pid = child.pid ?? 0;
  await leaveCgroup(pid);
  return { pid, startTicks: (await readStat(pid))?.startTicks ?? "", exited };
}

/** That very process, by the pid that it has now; undefined when there is none. */
export async function identityOf(pid: number): Promise<ProcessIdentity | undefined> {
  const found = await readStat(pid);
  return found === undefined || found.state === "Z" ? undefined : { pid, startTicks: found.startTicks };
}

/** Its parent's pid now; 0 when it is gone. */
export async function parentOf({ pid }: ProcessIdentity): Promise<number> {
  return (await readStat(pid))?.parent ?? 0;
}

/** True while that very process lives. */
export async function isAlive({ pid, startTicks }: ProcessIdentity): Promise<boolean> {
  const found = await readStat(pid);
  return found !== undefined && found.startTicks === startTicks && found.state !== "Z";
}

/** Sends SIGKILL to that very process and waits until it is gone and its files are closed. */
export async function killAndWait(identity: ProcessIdentity): Promise<void> {
  if (await isAlive(identity)) {
    try {
      process.kill(identity.pid, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
  await waitGone(identity);
}

/** Sends SIGSTOP to that very process before anything else happens here; nothing when it is gone. */
export function stopNow({ pid, startTicks }: ProcessIdentity): void {
  try {
    if (statFields(readFileSync(`/proc/${pid}/stat`, "utf8")).startTicks === startTicks) process.kill(pid, "SIGSTOP");
  } catch (error) {
    if (!["ENOENT", "ESRCH"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}

/** Waits until a process that is about to end is gone. @throws StillpointError QEMU_FAILED after 20 s */
export async function waitGone(identity: ProcessIdentity): Promise<void> {
  const giveUp = performance.now() + 20_000;
  while (await isAlive(identity)) {
    if (performance.now() > giveUp) throw new StillpointError("QEMU_FAILED", `process ${identity.pid} does not end`);
    await delay(3);
  }
}

/**
 * The process that works in a folder and whose command line has both arguments, found by looking at every process. By the
 * arguments alone it may be another agent's, on the same machine, to whose host a workload came.
 */
export async function findProcess(
  program: string,
  argument: string,
  folder: string,
): Promise<ProcessIdentity | undefined> {
  const root = await realpath(folder).catch(() => folder);
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const words = (await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "")).split("\0");
    if (!words[0]?.endsWith(program) || !words.includes(argument)) continue;
    const found = await identityOf(Number(name));
    if (found !== undefined && (await folderOf(name)) === root) return found;
  }
  return undefined;
}

const folderOf = (pid: string): Promise<string> => readlink(`/proc/${pid}/cwd`).catch(() => "");

/** When a process was started, by the wall clock. */
export async function startTimeOf({ startTicks }: ProcessIdentity): Promise<Date> {
  const ticksPerSecond = 100; // USER_HZ, fixed on Linux for x86 and arm
  const uptime = Number((await readFile("/proc/uptime", "utf8")).split(" ")[0]);
  return new Date(Date.now() - (uptime - Number(startTicks) / ticksPerSecond) * 1000);
}

async function readStat(pid: number): Promise<{ state: string; parent: number; startTicks: string } | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  return text === undefined ? undefined : statFields(text);
}

function statFields(text: string): { state: string; parent: number; startTicks: string } {
  // The second field is the name in brackets and may hold anything: count from its end (proc(5)).
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] ?? "", parent: Number(fields[1]), startTicks: fields[19] ?? "" };
}

/**
 * Moves a process beside our own cgroup, so that stopping our unit spares it. Best effort: where the unit is not
 * delegated or there is no cgroup of our own, the session alone separates it.
 */
export async function leaveCgroup(pid: number): Promise<void> {
  try {
    const lines = (await readFile("/proc/self/cgroup", "utf8")).trim().split("\n");
    const own = lines.find((line) => line.startsWith("0::"))?.slice("0::".length) ?? "/";
    if (own === "/") return;
    const beside = join("/sys/fs/cgroup", own, "..", "stillpoint-vms");
    if (!(await stat(beside).catch(() => undefined))) await mkdir(beside);
    await writeFile(join(beside, "cgroup.procs"), String(pid));
  } catch {
    // The process goes on in our cgroup; its session is still its own.
  }
}
