import { readdir, readFile, readlink } from "node:fs/promises";
import { resolve } from "node:path";

/** A running QEMU. */
export interface QemuProcess {
  readonly pid: number;
  readonly command: readonly string[];
  /** The folder that paths in its command line are relative to. */
  readonly folder: string;
}

/** Every QEMU that works in a folder below `root`. */
export async function findQemus(root: string): Promise<QemuProcess[]> {
  const found: QemuProcess[] = [];
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const line = await readFile(`/proc/${entry}/cmdline`, "utf8").catch(() => "");
    const command = line.split("\0").slice(0, -1);
    if (!command[0]?.includes("qemu-system")) continue;
    const folder = await readlink(`/proc/${entry}/cwd`).catch(() => "");
    if (folder.startsWith(`${root}/`)) found.push({ pid: Number(entry), command, folder });
  }
  return found;
}

/** The path of a server socket in a QEMU's command line, found by its file name. */
export function socketPath({ command, folder }: QemuProcess, fileName: string): string {
  for (const word of command) {
    const path = new RegExp(`path=([^,]*${fileName.replace(".", "\\.")})`).exec(word)?.[1];
    if (path !== undefined) return resolve(folder, path);
  }
  throw new Error(`no socket ${fileName} in: ${command.join(" ")}`);
}
