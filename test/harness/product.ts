import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { eventually, type TemporaryFolder, temporaryFolder } from "#libs/testing";
import { type CommandResult, firstLine, repository, runCommand } from "./command.ts";
import { findQemus } from "./qemu-process.ts";
import { runSharedCommand } from "./shared-command.ts";

/** The command line of some installation. */
export interface CommandLine {
  /** Everything of it is kept here. */
  readonly folder: string;
  /** Runs `stillpoint ARGS` against it. */
  stillpoint(...args: string[]): Promise<CommandResult>;
  /** The same with `-o json`; gives the API's message. Fails with what was printed when it does not end with 0. */
  json(...args: string[]): Promise<unknown>;
  /** Runs `stillpoint ARGS` until it prints a line that fits, for a minute at most, and gives that line. */
  firstLine(args: readonly string[], fits: (line: string) => boolean): Promise<string>;
}

/** A Stillpoint installation of one's own: `stillpoint dev` in a temporary folder, on free ports. */
export interface Product extends CommandLine, AsyncDisposable {
  readonly address: string;
  readonly registryUrl: string;
  readonly pid: number;
  /** Kills it with -9: its servers end with it, its guests run on. */
  kill(): Promise<void>;
  /** Starts it again on the same data, after `kill`; its addresses are others then. */
  restart(): Promise<void>;
  /** Waits for what still runs, deletes every VM and container, stops it and removes its folder. */
  [Symbol.asyncDispose](): Promise<void>;
}

const program = join(repository, "bin/stillpoint");

/** Its commands are ended, and no more begin, when `signal` is aborted. It has its own process group: Ctrl-C spares it. */
export const startProduct = (env: Record<string, string> = {}, signal?: AbortSignal): Promise<Product> =>
  start(env, { signal, run: (args, own) => runCommand(program, args, { env: own, ...(signal && { signal }) }) });

/** The same for tests: its commands share one process, all but those of `firstLine`. */
export const startTestProduct = (env: Record<string, string> = {}): Promise<Product> =>
  start(env, { signal: undefined, run: runSharedCommand });

interface Commands {
  readonly signal: AbortSignal | undefined;
  readonly run: (args: readonly string[], env: Record<string, string>) => Promise<CommandResult>;
}

async function start(env: Record<string, string>, commands: Commands): Promise<Product> {
  const folder = temporaryFolder();
  try {
    const launch = () => launchDev(folder.path, env);
    return connectProduct(await launch(), folder, { launch, ...commands });
  } catch (error) {
    await folder[Symbol.asyncDispose]();
    throw error;
  }
}

interface Running extends Ready {
  readonly child: ChildProcess;
}

async function launchDev(folder: string, env: Record<string, string>): Promise<Running> {
  const path = join(folder, "dev.log");
  const log = openSync(path, "a", 0o600);
  const before = (await stat(path)).size;
  const child = spawn(program, ["dev", "--data", join(folder, "data"), "--port", "0", "--registry-port", "0"], {
    stdio: ["ignore", log, log],
    env: { ...process.env, ...env },
    detached: true,
  });
  try {
    return { child, ...(await whenReady(child, path, before)) };
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  } finally {
    closeSync(log);
  }
}

interface Ready {
  readonly address: string;
  readonly registryUrl: string;
}

/** What it prints after the first `before` bytes of its log says where it listens. */
async function whenReady(child: ChildProcess, log: string, before: number): Promise<Ready> {
  const { ready } = await eventually(
    async () => {
      const text = (await readFile(log)).subarray(before).toString();
      const address = /^ {2}gRPC +(\S+)/m.exec(text)?.[1];
      const registryUrl = /^ {2}registry +(\S+)/m.exec(text)?.[1];
      if (address !== undefined && registryUrl !== undefined) return { ready: { address, registryUrl } };
      return child.exitCode !== null && { ready: undefined };
    },
    { deadlineMs: 60_000 },
  );
  if (ready !== undefined) return ready;
  throw new Error(`stillpoint dev ended with ${child.exitCode}:\n${await readFile(log, "utf8")}`);
}

interface Connection extends Commands {
  readonly launch: () => Promise<Running>;
}

function connectProduct(first: Running, folder: TemporaryFolder, { launch, signal, run }: Connection): Product {
  let running = first;
  const environment = () => ({ STILLPOINT_ADDRESS: running.address, STILLPOINT_REGISTRY: running.registryUrl });
  // What cleans up is not ended by the signal.
  const runLast: Commands["run"] = signal === undefined ? run : (args, env) => runCommand(program, args, { env });
  const stillpoint = async (...args: string[]) => {
    signal?.throwIfAborted();
    const result = await run(args, environment());
    signal?.throwIfAborted();
    await assertNotEndedByItself(running.child, join(folder.path, "dev.log"));
    return result;
  };
  const json = async (...args: string[]): Promise<unknown> => {
    const { code, stdout, stderr } = await stillpoint(...args, "-o", "json");
    if (code !== 0) throw new Error(`stillpoint ${args.join(" ")} ended with ${code}: ${stderr.trim()}`);
    return JSON.parse(stdout) as unknown;
  };
  return {
    get address() {
      return running.address;
    },
    get registryUrl() {
      return running.registryUrl;
    },
    get pid() {
      return running.child.pid ?? 0;
    },
    folder: folder.path,
    stillpoint,
    json,
    firstLine: (args, fits) => firstLine(program, args, fits, { env: environment(), ...(signal && { signal }) }),
    kill: () => end(running.child, "SIGKILL"),
    restart: async () => {
      running = await launch();
    },
    [Symbol.asyncDispose]: async () => {
      if (isAlive(running.child)) await deleteEveryWorkload((...args) => runLast(args, environment()));
      await end(running.child, "SIGTERM");
      for (const { pid } of await findQemus(folder.path)) process.kill(pid, "SIGKILL");
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** The log goes with the folder: its end is in the error. What a test has killed is silent. */
async function assertNotEndedByItself(child: ChildProcess, log: string): Promise<void> {
  if (isAlive(child) || child.killed) return;
  const lines = (await readFile(log, "utf8")).trimEnd().split("\n").slice(-30);
  throw new Error(`stillpoint dev ended with ${child.exitCode ?? child.signalCode}: ${lines.join("\n")}`);
}

const isAlive = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode === null && signalCode === null;

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (!isAlive(child)) return;
  const exited = once(child, "exit");
  child.kill(signal);
  await exited;
}

/** What still works on a workload holds it: that comes to its end first. */
export async function deleteEveryWorkload(run: (...args: string[]) => Promise<CommandResult>): Promise<void> {
  const list = async (...args: string[]) => {
    const { stdout } = await run(...args, "-o", "json");
    const listed = (stdout === "" ? {} : JSON.parse(stdout)) as Record<string, { name: string }[]>;
    return (
      Object.values(listed)
        .find(Array.isArray)
        ?.map(({ name }) => name.split("/").at(-1) ?? "") ?? []
    );
  };
  for (const id of await list("operation", "list", "--unfinished")) await run("operation", "wait", id);
  for (const noun of ["vm", "container"]) {
    for (const name of await list(noun, "list")) {
      await run(noun, "delete", name, "--force", "--with-checkpoints", "--with-protected");
    }
  }
}
