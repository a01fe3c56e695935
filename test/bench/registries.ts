import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { AccountKind, AccountsDefinition, RepositoryAction } from "#contracts/registry/v1/accounts";
import { closeRpcClients, createRpcClient } from "#libs/rpc";
import { eventually, freePort, startNats, startRedis, temporaryFolder } from "#libs/testing";

/** A registry that is measured, one process, and the headers that its clients send. */
export interface MeasuredRegistry extends AsyncDisposable {
  readonly name: string;
  readonly url: string;
  readonly pid: number;
  /** Where it keeps content by digest. */
  readonly blobs: string;
  readonly headers: Readonly<Record<string, string>>;
}

const root = join(import.meta.dirname, "../..");

/** Debian's docker-registry as its package configures it, but for logins, and with its log off. */
export async function startDebianRegistry(): Promise<MeasuredRegistry> {
  const ending = new AsyncDisposableStack();
  const folder = ending.use(temporaryFolder());
  const port = await freePort();
  const config = join(folder.path, "registry.yml");
  const data = join(folder.path, "data");
  const storage = { cache: { blobdescriptor: "inmemory" }, filesystem: { rootdirectory: data } };
  await writeFile(
    config,
    // YAML has JSON in it.
    JSON.stringify({
      version: "0.1",
      log: { level: "error", accesslog: { disabled: true } },
      storage: { ...storage, delete: { enabled: true } },
      http: { addr: `127.0.0.1:${port}` },
    }),
  );
  const child = ending.adopt(spawnOwned("docker-registry", ["serve", config]), ended);
  const url = `http://127.0.0.1:${port}`;
  await eventually(async () => (await fetch(`${url}/v2/`)).ok, { deadlineMs: 10_000 });
  return measured(
    { name: "docker-registry", url, child, blobs: join(data, "docker/registry/v2/blobs"), headers: {} },
    ending,
  );
}

/** Ours, started as its container starts it. With `auth` token its clients have one that lets them pull and push. */
export async function startOwnRegistry(auth: "none" | "token", repository: string): Promise<MeasuredRegistry> {
  const ending = new AsyncDisposableStack();
  const folder = ending.use(temporaryFolder());
  const redis = ending.use(await startRedis());
  const nats = ending.use(await startNats());
  const env = {
    PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}`,
    STILLPOINT_ROOT: root,
    STILLPOINT_SERVICE: "registry",
    LOG_LEVEL: "warn",
    REGISTRY_AUTH: auth,
    REGISTRY_DATA: folder.path,
    REGISTRY_HTTP_ADDRESS: "127.0.0.1:0",
    REGISTRY_ADDRESS: "127.0.0.1:0",
    REDIS_URL: redis.url,
    NATS_URL: nats.url,
  };
  const child = ending.adopt(spawnOwned(join(root, "deploy/image/start"), [], env), ended);
  const [, rpc = "", http = ""] = await announced(child);
  const url = `http://${http}`;
  const headers = auth === "token" ? await login(rpc, url, repository) : {};
  return measured({ name: `stillpoint, auth ${auth}`, url, child, blobs: join(folder.path, "blobs"), headers }, ending);
}

function measured(
  { child, ...rest }: Omit<MeasuredRegistry, "pid" | keyof AsyncDisposable> & { child: ChildProcess },
  ending: AsyncDisposableStack,
): MeasuredRegistry {
  return { ...rest, pid: child.pid ?? 0, [Symbol.asyncDispose]: () => ending.disposeAsync() };
}

/** It dies with this process at the latest. */
function spawnOwned(command: string, args: readonly string[], env = {}): ChildProcess {
  return spawn("setpriv", ["--pdeathsig", "KILL", command, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...env },
  });
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

/** Waits for what `services/registry/main.ts` says when it listens: its addresses for gRPC and for OCI. */
async function announced({ stdout }: ChildProcess): Promise<readonly string[]> {
  if (stdout === null) throw new Error("the registry's output is not at hand");
  for await (const line of createInterface(stdout)) {
    const found = /listens on (\S+) \(gRPC\) and (\S+) \(OCI\)/.exec(line);
    if (found !== null) return found;
  }
  throw new Error("the registry ended before it listened");
}

/** Makes a robot, and gets a token by its login as clients do. */
async function login(rpcAddress: string, url: string, repository: string): Promise<Record<string, string>> {
  const name = "bench";
  const actions = [RepositoryAction.PULL, RepositoryAction.PUSH, RepositoryAction.DELETE];
  const { secret } = await createRpcClient(AccountsDefinition, rpcAddress).createAccount({
    name: `registry/accounts/${name}`,
    kind: AccountKind.ROBOT,
    rights: [{ repositories: repository, actions }],
  });
  await closeRpcClients();
  const scope = encodeURIComponent(`repository:${repository}:pull,push,delete`);
  const authorization = `Basic ${Buffer.from(`${name}:${secret}`).toString("base64")}`;
  const answer = await fetch(`${url}/token?service=stillpoint-registry&scope=${scope}`, { headers: { authorization } });
  const { token } = (await answer.json()) as { token?: string };
  if (token === undefined) throw new Error(`no token: ${answer.status}`);
  return { authorization: `Bearer ${token}` };
}
