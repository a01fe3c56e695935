import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { eventually } from "./eventually.ts";
import { loopback, type Place } from "./place.ts";
import { temporaryFolder } from "./temporary-folder.ts";

/** A real server for a test, in its own folder, on its own port. It dies with the test's process at the latest. */
export interface TestServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly folder: string;
  /** The server's process; undefined while it is stopped. */
  readonly pid: number | undefined;
  /** Ends it and waits; its data stays. SIGKILL is a crash. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on its data and port. */
  start(): Promise<void>;
  /** SIGSTOP pauses it, SIGCONT has it go on. */
  signal(signal: NodeJS.Signals): void;
}

/** redis-server with an append-only file, so that it finds its data again after stop() and start(). */
export const startRedis = ({ data }: ServerData = {}): Promise<TestServer> =>
  startServer("redis", async (port, folder) => [
    "redis-server",
    ...["--port", `${port}`, "--bind", "127.0.0.1", "--dir", data ?? folder, "--save", "", "--appendonly", "yes"],
  ]);

export interface ServerData {
  /** Where its data is; in a folder of its own if unsaid. */
  readonly data?: string;
}

export interface NatsOptions extends ServerData {
  /** How much it may keep, whatever room there is, such as "16GB"; three quarters of the room if unsaid. */
  readonly mayKeep?: string;
  /** Syncs every write before it answers, as in production. */
  readonly syncAlways?: boolean;
  /** Where its HTTP monitoring listens; there is none if unsaid. */
  readonly monitorPort?: number;
}

/** nats-server with JetStream. */
export const startNats = ({ syncAlways = false, monitorPort, data, mayKeep }: NatsOptions = {}): Promise<TestServer> =>
  startServer("nats", async (port, folder) => {
    const file = join(folder, "nats.conf");
    const sync = syncAlways ? ", sync_interval: always" : "";
    const store = JSON.stringify(join(data ?? folder, "jetstream"));
    const most = mayKeep === undefined ? "" : `, max_file_store: ${mayKeep}`;
    const monitor = monitorPort === undefined ? "" : `http: "127.0.0.1:${monitorPort}"\n`;
    await writeFile(file, `listen: "127.0.0.1:${port}"\n${monitor}jetstream { store_dir: ${store}${sync}${most} }\n`);
    return ["nats-server", "--config", file];
  });

/** s3rver, which knows a part of S3, with one empty bucket. Both of its keys are S3RVER. */
export const startS3rver = (bucket: string): Promise<TestServer> =>
  startServer("http", async (port, folder) => [
    "s3rver",
    ...["--directory", folder, "--address", "127.0.0.1", "--port", `${port}`, "--configure-bucket", bucket],
  ]);

/** Starts a server by the command that listens on `port` of its place and keeps its data in `folder`. */
export async function startServer(
  scheme: string,
  command: (port: number, folder: string) => Promise<string[]>,
  { place = loopback, port: wanted }: { readonly place?: Place; readonly port?: number } = {},
): Promise<TestServer> {
  const folder = temporaryFolder();
  const port = wanted ?? (await place.freePort());
  const argv = place.command(await command(port, folder.path));
  let child: ChildProcess | undefined;
  const start = async () => {
    child = await launch(argv, port, folder.path, place.address);
  };
  const stop = async (signal: NodeJS.Signals = "SIGTERM") => {
    if (child !== undefined) await end(child, signal);
    child = undefined;
  };
  await start();
  return {
    url: `${scheme}://${place.address}:${port}`,
    port,
    folder: folder.path,
    get pid() {
      return child?.pid;
    },
    start,
    stop,
    signal: (signal) => void child?.kill(signal),
    [Symbol.asyncDispose]: async () => {
      await stop("SIGKILL");
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Starts a server that logs into its folder, and waits until it listens. */
export async function launch(
  argv: readonly string[],
  port: number | undefined,
  folder: string,
  address = "127.0.0.1",
): Promise<ChildProcess> {
  const log = join(folder, "server.log");
  const out = createWriteStream(log, { flags: "a" });
  await once(out, "open");
  const child = spawn("setpriv", ["--pdeathsig", "KILL", ...argv], {
    cwd: folder,
    stdio: ["ignore", out, out],
  });
  out.close();
  if (port !== undefined) {
    await eventually(() => child.exitCode !== null || accepts(port, address), { deadlineMs: 10_000 });
  }
  if (child.exitCode !== null) throw new Error(`${argv[0]} ended at once:\n${await readFile(log, "utf8")}`);
  return child;
}

export async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill(signal);
  // One that was stopped ends only when it goes on.
  child.kill("SIGCONT");
  await exited;
}

/** Whether somebody listens there. */
export function accepts(port: number, address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, address);
    socket.once("error", () => resolve(false));
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
  });
}
