import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { freePort } from "#libs/testing";

/** A registry in a process of its own, which can be killed and started again on its port. */
export interface RegistryReplica extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Of its gRPC services, host:port. */
  readonly rpcAddress: string;
  readonly pid: number;
  start(): Promise<void>;
  kill(): Promise<void>;
}

export async function startReplica(settings: NodeJS.ProcessEnv): Promise<RegistryReplica> {
  const port = await freePort();
  const rpcAddress = `127.0.0.1:${await freePort()}`;
  const env = {
    ...process.env,
    LOG_LEVEL: "silent",
    REGISTRY_HTTP_ADDRESS: `127.0.0.1:${port}`,
    REGISTRY_ADDRESS: rpcAddress,
    REGISTRY_EVENTS: "none",
    ...settings,
  };
  const start = async () => {
    const child = spawn(process.execPath, [join(import.meta.dirname, "../main.ts")], {
      env,
      stdio: ["ignore", "pipe", "inherit"],
    });
    await once(createInterface(child.stdout), "line");
    return child;
  };
  let child = await start();
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  };
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    rpcAddress,
    get pid() {
      return child.pid ?? 0;
    },
    kill,
    async start() {
      child = await start();
    },
    [Symbol.asyncDispose]: kill,
  };
}
