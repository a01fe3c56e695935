import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { tmpdir } from "node:os";

/** Names this run of tests: what it starts carries the name in its environment or in the paths on its command line. */
export const testRun = (): string => process.env.STILLPOINT_TEST_RUN ?? `${process.pid}`;

/** Temporary folders of this run begin with this. */
export const folderPrefix = (): string => `stillpoint-test-${testRun()}-`;

/** The processes and temporary folders of this run that are still there, one line each. */
export function leftovers(): string[] {
  const processes = readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)
    .filter(isOurs)
    .map((pid) => `process ${pid}: ${read(pid, "cmdline").join(" ").trim()}`);
  const folders = readdirSync(tmpdir()).filter((name) => name.startsWith(folderPrefix()));
  return [...processes, ...folders.map((name) => `folder ${name}`)];
}

/** Fails and names what this run of tests has left behind. */
export function assertNothingLeft(): void {
  const left = leftovers();
  if (left.length > 0) throw new Error(`the tests left behind:\n${left.join("\n")}`);
}

/** By its folder too: a redis-server writes its title over its command line and environment. */
function isOurs(pid: string): boolean {
  return (
    folderOf(pid).includes(folderPrefix()) ||
    read(pid, "environ").includes(`STILLPOINT_TEST_SERVER=${testRun()}`) ||
    read(pid, "cmdline").some((argument) => argument.includes(folderPrefix()))
  );
}

function folderOf(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
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
