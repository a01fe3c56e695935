import { readdir, readFile, readlink } from "node:fs/promises";
import { resolve } from "node:path";

/** A running QEMU. */
export interface QemuProcess {
  readonly pid: number;
  /** Clock ticks since boot: with the pid it names this very process. */
  readonly startTicks: string;
  readonly command: readonly string[];
  /** The folder that paths in its command line are relative to. */
  readonly folder: string;
}

/** Every QEMU that works in a folder below `root`. */
export async function findQemus(root: string): Promise<QemuProcess[]> {
  const found: QemuProcess[] = [];
  for (const { pid, command } of await processes()) {
    if (!command[0]?.includes("qemu-system")) continue;
    const folder = await linkOf(pid, "cwd");
    if (folder.startsWith(`${root}/`)) found.push({ pid, command, folder, startTicks: await startTicks(pid) });
  }
  return found;
}

/** Every guard whose log is below `root`, with the agent that it looks after. */
export async function findGuards(root: string): Promise<{ readonly pid: number; readonly agentPid: number }[]> {
  const found: { pid: number; agentPid: number }[] = [];
  for (const { pid, command } of await processes()) {
    if (!command.some((word) => word.endsWith("/guard.ts"))) continue;
    if ((await linkOf(pid, "fd/2")).startsWith(`${root}/`)) found.push({ pid, agentPid: Number(command.at(-1)) });
  }
  return found;
}

async function processes(): Promise<{ readonly pid: number; readonly command: readonly string[] }[]> {
  const pids = (await readdir("/proc")).filter((entry) => /^\d+$/.test(entry)).map(Number);
  return Promise.all(
    pids.map(async (pid) => {
      const line = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
      return { pid, command: line.split("\0").slice(0, -1) };
    }),
  );
}

const linkOf = (pid: number, name: string): Promise<string> => readlink(`/proc/${pid}/${name}`).catch(() => "");

/** Field 22 of proc(5)'s stat, counted from behind the name in brackets. */
async function startTicks(pid: number): Promise<string> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return text.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? "";
}

/** The path of a server socket in a QEMU's command line, found by its file name. */
export function socketPath({ command, folder }: QemuProcess, fileName: string): string {
  for (const word of command) {
    const path = new RegExp(`path=([^,]*${fileName.replace(".", "\\.")})`).exec(word)?.[1];
    if (path !== undefined) return resolve(folder, path);
  }
  throw new Error(`no socket ${fileName} in: ${command.join(" ")}`);
}
