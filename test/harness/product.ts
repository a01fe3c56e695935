import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { eventually, type TemporaryFolder, temporaryFolder } from "#libs/testing";
import { type CommandResult, repository, runCommand } from "./command.ts";

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
  /** Deletes every VM, stops it and removes its folder. */
  [Symbol.asyncDispose](): Promise<void>;
}

const program = join(repository, "bin/stillpoint");

export async function startProduct(env: Record<string, string> = {}): Promise<Product> {
  const folder = temporaryFolder();
  const log = openSync(join(folder.path, "dev.log"), "a", 0o600);
  const child = spawn(program, ["dev", "--data", join(folder.path, "data"), "--port", "0", "--registry-port", "0"], {
    stdio: ["ignore", log, log],
    env: { ...process.env, ...env },
  });
  try {
    const ready = await whenReady(child, join(folder.path, "dev.log"));
    return connectProduct(child, folder, ready);
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
  return eventually(
    async () => {
      const text = await readFile(log, "utf8");
      if (child.exitCode !== null) throw new Error(`stillpoint dev ended with ${child.exitCode}:\n${text}`);
      const address = /^ {2}gRPC +(\S+)/m.exec(text)?.[1];
      const registryUrl = /^ {2}registry +(\S+)/m.exec(text)?.[1];
      return address === undefined || registryUrl === undefined ? undefined : { address, registryUrl };
    },
    { deadlineMs: 60_000 },
  );
}

function connectProduct(child: ChildProcess, folder: TemporaryFolder, { address, registryUrl }: Ready): Product {
  const env = { STILLPOINT_ADDRESS: address, STILLPOINT_REGISTRY: registryUrl };
  const stillpoint = (...args: string[]) => runCommand(program, args, { env });
  const json = async (...args: string[]): Promise<unknown> => {
    const { code, stdout, stderr } = await stillpoint(...args, "-o", "json");
    if (code !== 0) throw new Error(`stillpoint ${args.join(" ")} ended with ${code}: ${stderr.trim()}`);
    return JSON.parse(stdout) as unknown;
  };
  const close = async () => {
    const listed = (await json("vm", "list").catch(() => ({}))) as { vms?: { name: string }[] };
    for (const { name } of listed.vms ?? []) {
      await stillpoint("vm", "delete", name.split("/").at(-1) ?? "", "--force", "--with-checkpoints");
    }
    const exited = child.exitCode === null ? once(child, "exit") : undefined;
    child.kill("SIGTERM");
    await exited;
    await folder[Symbol.asyncDispose]();
  };
  const pid = child.pid ?? 0;
  return { address, registryUrl, folder: folder.path, pid, stillpoint, json, [Symbol.asyncDispose]: close };
}
