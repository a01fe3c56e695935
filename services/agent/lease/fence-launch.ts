import { spawn } from "node:child_process";
import { once } from "node:events";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { StillpointError } from "#libs/errors";
import { identityOf, killAndWait, leaveCgroup } from "../qemu/process.ts";
import { connectUnix } from "../qemu/socket.ts";
import { FenceLink } from "./fence-link.ts";

const PROGRAM = join(import.meta.dirname, "fence-guard.ts");
const LAUNCH_MS = 10_000;
const RETRY_MS = 5;
const nobodyListens: ReadonlySet<string> = new Set(["ENOENT", "ECONNREFUSED"]);

/** A connection to the guard of a data folder; undefined when there is none. */
export async function reachGuard(data: string): Promise<FenceLink | undefined> {
  try {
    return new FenceLink(await connectUnix(join(data, "fence.sock")));
  } catch (error) {
    if (nobodyListens.has((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error; // taken for dead, its children would be ended
  }
}

/** Starts a guard in a session and, where possible, a cgroup of its own. @throws StillpointError QEMU_FAILED */
export async function launchGuard(data: string): Promise<FenceLink> {
  await using log = await open(join(data, "fence-guard.log"), "a", 0o600);
  const { PATH = "", NODE_COMPILE_CACHE } = process.env;
  const guard = spawn(process.execPath, ["--max-old-space-size=32", PROGRAM], {
    detached: true,
    cwd: data,
    env: { PATH, ...(NODE_COMPILE_CACHE !== undefined && { NODE_COMPILE_CACHE }) },
    stdio: ["ignore", log.fd, log.fd],
  });
  await once(guard, "spawn");
  guard.unref();
  await leaveCgroup(guard.pid ?? 0);
  const giveUp = performance.now() + LAUNCH_MS;
  while (guard.exitCode === null && performance.now() < giveUp) {
    const link = await reachGuard(data);
    if (link !== undefined) return link;
    await delay(RETRY_MS);
  }
  throw new StillpointError("QEMU_FAILED", "the fence guard did not start", {
    help: "fence-guard.log in the agent's data folder has more.",
  });
}

/** Kills the guard of a data folder, and so its children. */
export async function endSilentGuard(data: string): Promise<void> {
  const pid = Number(await readFile(join(data, "fence.pid"), "utf8"));
  const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
  const guard = await identityOf(pid);
  if (guard !== undefined && command.split("\0").includes(PROGRAM)) await killAndWait(guard);
}
