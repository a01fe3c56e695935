import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { StillpointError } from "#libs/errors";

/**
 * The control group of a container's processes, by which the kernel holds all of them still; the container engine has no
 * part in it. What is read and written here is the group's own wish: a frozen group above it holds it as well.
 */
export interface ControlGroup {
  readonly path: string;
  /** Of the hierarchy: 1 has a freezer that is mounted by itself, 2 has it in every group but the root. */
  readonly version: 1 | 2;
}

const DEEPEST = 8;
const END_MS = 20_000;

/**
 * The group of the container that its engine calls by this id (64 digits); undefined when there is none, as when it does
 * not run. Engines name it for the id, wherever they put it: `docker/<id>`, `system.slice/docker-<id>.scope`.
 */
export function findGroup(id: string): ControlGroup | undefined {
  for (const root of hierarchies()) {
    const path = searchIn(root.path, id, DEEPEST);
    if (path !== undefined) return { ...root, path };
  }
  return undefined;
}

export const isThere = ({ path }: ControlGroup): boolean => existsSync(path);

export function isFrozen({ path, version }: ControlGroup): boolean {
  const file = version === 1 ? "freezer.self_freezing" : "cgroup.freeze";
  return readFileSync(join(path, file), "utf8").trim() === "1";
}

/** From the write on none of its processes comes back to its program, nor do those that they begin. */
export function freeze({ path, version }: ControlGroup): void {
  if (version === 1) writeFileSync(join(path, "freezer.state"), "FROZEN");
  else writeFileSync(join(path, "cgroup.freeze"), "1");
}

export function thaw({ path, version }: ControlGroup): void {
  if (version === 1) writeFileSync(join(path, "freezer.state"), "THAWED");
  else writeFileSync(join(path, "cgroup.freeze"), "0");
}

/** pids of all that is in it and below it. */
export function processesIn({ path, version }: ControlGroup): number[] {
  const own = readFileSync(join(path, "cgroup.procs"), "utf8").split("\n").filter(Boolean).map(Number);
  const below = subfolders(path).flatMap((name) => processesIn({ path: join(path, name), version }));
  return [...own, ...below].filter((pid) => pid > 0);
}

/** Sends SIGKILL to all of it. Those that are frozen die without going on first: the signal is there when they are thawed. */
export function killAll(group: ControlGroup): void {
  for (const pid of processesIn(group)) {
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
}

/** Ends all of it, frozen or not, and waits until nothing of it is left. @throws StillpointError ENGINE_FAILED after 20 s */
export async function endGroup(group: ControlGroup): Promise<void> {
  const giveUp = performance.now() + END_MS;
  while (hasProcesses(group)) {
    if (performance.now() > giveUp) throw new StillpointError("ENGINE_FAILED", `${group.path} does not end`);
    try {
      freeze(group); // so that none of it begins another that is not seen
      killAll(group);
      thaw(group);
    } catch (error) {
      if (isThere(group)) throw error;
    }
    await delay(10);
  }
}

/** False also when it has gone. */
export function hasProcesses(group: ControlGroup): boolean {
  try {
    return processesIn(group).length > 0;
  } catch (error) {
    if (!isThere(group)) return false;
    throw error;
  }
}

/** Where control groups that can be frozen are mounted (proc_pid_mountinfo(5), cgroups(7)). */
export function hierarchies(): ControlGroup[] {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  const found = mounts.flatMap((line): ControlGroup[] => {
    const [left = "", right = ""] = line.split(" - ");
    const path = left.split(" ")[4] ?? "";
    const [type, , options = ""] = right.split(" ");
    if (type === "cgroup2") return [{ path, version: 2 }];
    return type === "cgroup" && options.split(",").includes("freezer") ? [{ path, version: 1 }] : [];
  });
  return found.sort((a, b) => a.version - b.version);
}

function searchIn(folder: string, id: string, depth: number): string | undefined {
  const names = subfolders(folder);
  const found = names.find((name) => name.includes(id));
  if (found !== undefined) return join(folder, found);
  if (depth === 0) return undefined;
  for (const name of names) {
    const below = searchIn(join(folder, name), id, depth - 1);
    if (below !== undefined) return below;
  }
  return undefined;
}

/** None of a group that has just gone. */
function subfolders(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true }).flatMap((it) => (it.isDirectory() ? [it.name] : []));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
