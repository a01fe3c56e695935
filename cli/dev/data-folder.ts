import { createHash } from "node:crypto";
import { chmod, mkdir, readFile, realpath, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { homedir, userInfo } from "node:os";
import { join, resolve } from "node:path";
import { StillpointError } from "#libs/errors";
import type { Lifecycle } from "#libs/lifecycle";

/** /var/lib/stillpoint for root, ~/.local/share/stillpoint for others. */
export function defaultDataFolder(env: NodeJS.ProcessEnv = process.env): string {
  if (userInfo().uid === 0) return "/var/lib/stillpoint";
  return join(env.XDG_DATA_HOME ?? join(homedir(), ".local/share"), "stillpoint");
}

/**
 * Makes the folder (mode 0700) and takes it for this process alone; gives its full path. The kernel gives it back when
 * the process ends, however it ends, so that what a crash left is simply taken over.
 */
export async function claimDataFolder(folder: string, lifecycle: Lifecycle): Promise<string> {
  await mkdir(resolve(folder), { recursive: true, mode: 0o700 });
  const path = await realpath(folder);
  await chmod(path, 0o700);
  const pidFile = join(path, "dev.pid");
  await lock(path, pidFile, lifecycle);
  await writeFile(pidFile, `${process.pid}\n`, { mode: 0o600 });
  return path;
}

/** A socket in the abstract namespace (unix(7)) has no file: it is there exactly as long as its process. */
function lock(path: string, pidFile: string, lifecycle: Lifecycle): Promise<void> {
  const name = `\0stillpoint-dev-${createHash("sha256").update(path).digest("hex").slice(0, 32)}`;
  const server = createServer((socket) => socket.destroy());
  return new Promise((done, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      if (cause.code === "EADDRINUSE") inUse(path, pidFile, cause).then(reject, reject);
      else reject(cause);
    });
    server.listen(name, () => {
      lifecycle.add("data folder", server, (it) => void it.close());
      done();
    });
  });
}

async function inUse(path: string, pidFile: string, cause: unknown): Promise<StillpointError> {
  const pid = await readFile(pidFile, "utf8").catch(() => "?");
  return new StillpointError("ARGUMENT_INVALID", `${path} is in use by process ${pid.trim()}`, {
    cause,
    help: "Stop that one first, or name another folder with --data.",
  });
}
