import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";

/** Temporary folders of this process begin with this. */
export const folderPrefix = (): string => `stillpoint-test-${process.pid}-`;

/**
 * What tests have left of everything below paths that begin with `beginning`, one line each: the entries, what is
 * mounted there, and the processes that work there, are told of it on their command line or in their environment, or
 * print into it. If unsaid, the temporary folders of this process.
 */
export function leftovers(beginning = join(tmpdir(), folderPrefix())): string[] {
  const processes = readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)
    .filter((pid) => traces(pid).some((trace) => trace.includes(beginning)))
    .map((pid) => `process ${pid}: ${read(pid, "cmdline").join(" ").trim()}`);
  const mounts = mountPoints().filter((path) => path.startsWith(beginning));
  const folder = dirname(`${beginning}x`);
  const prefix = beginning.endsWith("/") ? "" : basename(beginning);
  const entries = readdirSync(folder).filter((name) => name.startsWith(prefix));
  return [
    ...processes,
    ...mounts.map((path) => `mount ${path}`),
    ...entries.map((name) => `folder ${join(folder, name)}${contents(join(folder, name))}`),
  ];
}

/** The fifth field of each line is where something is mounted; a blank in it is written as its octal number. */
function mountPoints(): string[] {
  const lines = readFileSync("/proc/self/mountinfo", "utf8").trimEnd().split("\n");
  return lines.map((line) => line.split(" ")[4]?.replaceAll("\\040", " ") ?? "");
}

/** What is in a folder tells whose it was: names, a few of them. */
function contents(path: string): string {
  const shown = 20;
  try {
    const names = readdirSync(path, { recursive: true, encoding: "utf8" }).toSorted();
    const more = names.length > shown ? ", ..." : "";
    return names.length === 0 ? ", empty" : `, which holds ${names.slice(0, shown).join(", ")}${more}`;
  } catch {
    return ""; // no folder, or gone by now
  }
}

/** Fails and names what `leftovers` finds. */
export function assertNothingLeft(beginning?: string): void {
  const left = leftovers(beginning);
  if (left.length > 0) throw new Error(`the tests left behind:\n${left.join("\n")}`);
}

/** The working folder too: a redis-server writes its title over its command line and environment. */
function traces(pid: string): string[] {
  const links = ["cwd", "fd/1", "fd/2"].map((name) => `${linkOf(pid, name)}/`);
  return [...read(pid, "cmdline"), ...read(pid, "environ"), ...links];
}

function linkOf(pid: string, name: string): string {
  try {
    return readlinkSync(`/proc/${pid}/${name}`);
  } catch {
    return "";
  }
}

/** The strings in a file of /proc; none when the process has ended or is not ours to read. */
function read(pid: string, file: "cmdline" | "environ"): string[] {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8").split("\0");
  } catch {
    return [];
  }
}
