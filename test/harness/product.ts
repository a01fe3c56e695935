import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { eventually, type TemporaryFolder, temporaryFolder } from "#libs/testing";
import { type CommandResult, repository, runCommand } from "./command.ts";
import { findQemus } from "./qemu-process.ts";

/** A Stillpoint installation of one's own: `stillpoint dev` in a temporary folder, on free ports. */
export interface Product extends AsyncDisposable {
  readonly address: string;
  readonly registryUrl: string;
  readonly folder: string;
  readonly pid: number;
  /** Runs `stillpoint ARGS` against it. */
  stillpoint(...args: string[]): Promise<CommandResult>;
  /** The same with `-o json`; gives the API's message. Fails with what was printed when it does not end with 0. */
  json(...args: string[]): Promise<unknown>;
  /** Waits for what still runs, deletes every VM, stops it and removes its folder. */
  [Symbol.asyncDispose](): Promise<void>;
}

const program = join(repository, "bin/stillpoint");

/** Its commands are ended, and no more begin, when `signal` is aborted. It has its own process group: Ctrl-C spares it. */
export async function startProduct(env: Record<string, string> = {}, signal?: AbortSignal): Promise<Product> {
  const folder = temporaryFolder();
  const log = openSync(join(folder.path, "dev.log"), "a", 0o600);
  const child = spawn(program, ["dev", "--data", join(folder.path, "data"), "--port", "0", "--registry-port", "0"], {
    stdio: ["ignore", log, log],
    env: { ...process.env, ...env },
    detached: true,
  });
  try {
    const ready = await whenReady(child, join(folder.path, "dev.log"));
    return connectProduct(child, folder, { ...ready, signal });
  } catch (error) {
    child.kill("SIGKILL");
    await folder[Symbol.asyncDispose]();
    throw error;
  }
}

interface Ready {
  readonly address: string;
  readonly registryUrl: string;
}

async function whenReady(child: ChildProcess, log: string): Promise<Ready> {
  const { ready } = await eventually(
    async () => {
      const text = await readFile(log, "utf8");
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

interface Connection extends Ready {
  readonly signal: AbortSignal | undefined;
}

function connectProduct(child: ChildProcess, folder: TemporaryFolder, { signal, ...ready }: Connection): Product {
  const env = { STILLPOINT_ADDRESS: ready.address, STILLPOINT_REGISTRY: ready.registryUrl };
  const stillpoint = async (...args: string[]) => {
    signal?.throwIfAborted();
    const result = await runCommand(program, args, { env, ...(signal && { signal }) });
    signal?.throwIfAborted();
    return result;
  };
  const json = async (...args: string[]): Promise<unknown> => {
    const { code, stdout, stderr } = await stillpoint(...args, "-o", "json");
    if (code !== 0) throw new Error(`stillpoint ${args.join(" ")} ended with ${code}: ${stderr.trim()}`);
    return JSON.parse(stdout) as unknown;
  };
  const close = async () => {
    await deleteEveryVm((...args) => runCommand(program, args, { env }));
    const exited = child.exitCode === null ? once(child, "exit") : undefined;
    child.kill("SIGTERM");
    await exited;
    for (const { pid } of await findQemus(folder.path)) process.kill(pid, "SIGKILL");
    await folder[Symbol.asyncDispose]();
  };
  return { ...ready, folder: folder.path, pid: child.pid ?? 0, stillpoint, json, [Symbol.asyncDispose]: close };
}

/** What still works on a VM holds it: that comes to its end first. */
async function deleteEveryVm(run: (...args: string[]) => Promise<CommandResult>): Promise<void> {
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
  for (const vm of await list("vm", "list")) await run("vm", "delete", vm, "--force", "--with-checkpoints");
}
