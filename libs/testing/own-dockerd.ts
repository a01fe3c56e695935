import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type Dockerode from "dockerode";
import { eventually } from "./eventually.ts";

/** A Docker engine of our own. It ends, with all its containers, when it is disposed of, or this process dies. */
export interface OwnDockerd extends AsyncDisposable {
  readonly docker: Dockerode;
  readonly socketPath: string;
}

/** The bridge of the engine's default network, and the one that dockerd makes for itself when there is none. */
const defaultBridge = "/sys/class/net/docker0";
const run = promisify(execFile);

/**
 * Starts dockerd with everything it keeps in `folder`, which its caller removes after it. There can be one on a
 * machine: a second one would take the first one's bridge and packet rules. It needs root.
 */
export async function startDockerd(folder: string): Promise<OwnDockerd> {
  const { default: Docker } = await import("dockerode");
  const socketPath = join(folder, "docker.sock");
  const hadBridge = existsSync(defaultBridge);
  const child = await launch(folder, socketPath);
  const exited = once(child, "exit");
  const docker = new Docker({ socketPath });
  const ended = () => child.exitCode !== null || child.signalCode !== null;
  const end = async () => {
    if (!ended()) child.kill("SIGTERM");
    await exited;
    if (!hadBridge && existsSync(defaultBridge)) await run("ip", ["link", "delete", "docker0"]);
  };
  try {
    await eventually(async () => ended() || docker.ping().then(() => true), { deadlineMs: 30_000, everyMs: 50 });
    if (ended()) throw new Error(`dockerd ended at once:\n${await lastLines(join(folder, "dockerd.log"))}`);
  } catch (error) {
    await end();
    throw error;
  }
  return { docker, socketPath, [Symbol.asyncDispose]: end };
}

async function launch(folder: string, socketPath: string) {
  const uid = process.getuid?.();
  if (uid !== 0) throw new Error("no Docker engine answers, and to start one for the tests needs root");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const log = await open(join(folder, "dockerd.log"), "a");
  const settings = {
    hosts: [`unix://${socketPath}`],
    group: `${process.getgid?.() ?? 0}`,
    "data-root": join(folder, "data"),
    "exec-root": join(folder, "exec"),
    pidfile: join(folder, "dockerd.pid"),
  };
  const file = join(folder, "daemon.json");
  await writeFile(file, JSON.stringify(settings));
  const child = spawn("setpriv", ["--pdeathsig", "KILL", "dockerd", "--config-file", file], {
    stdio: ["ignore", log.fd, log.fd],
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  });
  await once(child, "spawn");
  await log.close();
  return child;
}

async function lastLines(path: string): Promise<string> {
  return (await readFile(path, "utf8")).trim().split("\n").slice(-10).join("\n");
}
