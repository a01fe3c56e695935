import { readdir, readFile } from "node:fs/promises";

/** A QEMU on this machine whose command line names a folder. */
export interface QemuProcess {
  readonly pid: number;
  readonly command: readonly string[];
}

/** Every QEMU that has `text` (a data folder, a uid) in its command line. */
export async function findQemus(text: string): Promise<QemuProcess[]> {
  const found: QemuProcess[] = [];
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const line = await readFile(`/proc/${entry}/cmdline`, "utf8").catch(() => "");
    const command = line.split("\0").slice(0, -1);
    if (command[0]?.includes("qemu-system") && line.includes(text)) found.push({ pid: Number(entry), command });
  }
  return found;
}

/** The path of a server socket in a QEMU command line, found by its file name. */
export function socketPath(command: readonly string[], fileName: string): string {
  for (const word of command) {
    const path = new RegExp(`(?:path=|unix:)([^,]*${fileName.replace(".", "\\.")})`).exec(word)?.[1];
    if (path !== undefined) return path;
  }
  throw new Error(`no socket ${fileName} in: ${command.join(" ")}`);
}
