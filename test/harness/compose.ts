import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { access, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { TestEngine } from "#libs/testing";
import { eventually, freePort, temporaryFolder } from "#libs/testing";
import { type CommandResult, firstLine, repository, runCommand } from "./command.ts";
import { type CommandLine, deleteEveryWorkload } from "./product.ts";
import { findQemus } from "./qemu-process.ts";

/** The control plane of docker-compose.yml, with an agent on this host, on free ports. */
export interface ComposedProduct extends CommandLine, AsyncDisposable {
  /** Every container and volume of it has this in its name. */
  readonly project: string;
  /** Of the folder that deploy/prepare.sh made. */
  readonly state: string;
  /** Where gRPC is reached. */
  readonly address: string;
  readonly registryUrl: string;
  /** Where machines join. */
  readonly joinAddress: string;
  /** Of the account of the host's container engine, which may push too. */
  readonly registryLogin: { readonly username: string; readonly password: string };
  /** `docker-compose ARGS` on it. Fails with what was printed when that does not end with 0. */
  compose(...args: string[]): Promise<string>;
  /** Runs a program of deploy/ on it, such as roll.sh. Fails likewise. */
  deploy(program: string, ...args: string[]): Promise<string>;
  /** Kills a container's process with -9, as a crash does: what `docker kill` ends is not started again. */
  crash(container: string): Promise<void>;
}

const host = "n1";
const admin = "ada";

/** Why there can be none here; undefined when there can. */
export async function whyNoCompose(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return "deploy/prepare.sh needs root";
  const { code } = await runCommand("docker", ["--version"]).catch(() => ({ code: 1 }));
  if (code !== 0) return "there is no docker command";
  const found = await findCompose();
  return found === undefined ? "neither docker-compose nor docker compose is there" : undefined;
}

async function findCompose(): Promise<[string, ...string[]] | undefined> {
  for (const command of [["docker-compose"], ["docker", "compose"]] as const) {
    const [program, ...args] = command;
    const { code } = await runCommand(program, [...args, "version"]).catch(() => ({ code: 1 }));
    if (code === 0) return [program, ...args];
  }
  return undefined;
}

export interface ComposeOptions {
  /** With three nodes of NATS, and Redis with sentinels. */
  readonly cluster?: boolean;
}

/** Builds the images, brings it up, and waits until its host is ready. */
export async function startCompose(
  engine: TestEngine,
  { cluster = false }: ComposeOptions = {},
): Promise<ComposedProduct> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(temporaryFolder()).path;
  const setting = await settings(engine, folder, cluster);
  const { env } = setting;
  await succeed("deploy/images.sh", [setting.tag], env);
  await succeed(
    "deploy/prepare.sh",
    ["--host", host, "--admin", admin, "--join", ...(cluster ? ["--cluster"] : [])],
    env,
  );
  const [program, ...words] = (await findCompose()) ?? ["docker-compose"];
  const compose = (...args: string[]) => succeed(program, [...words, ...args], env);
  stack.defer(async () => void (await compose("down", "--volumes", "--timeout", "5")));
  await compose("up", "--detach");

  const product = { ...commandLine(folder, setting), state: setting.state, project: setting.project, compose };
  const registryLogin = await makeAccount(product);
  stack.use(startAgent(folder, setting));
  stack.defer(() => deleteEveryWorkload((...args) => product.stillpoint(...args)));
  await hostReady(product, folder);
  const owned = stack.move();
  return {
    ...product,
    registryLogin,
    address: `localhost:${setting.port}`,
    joinAddress: `localhost:${setting.joinPort}`,
    registryUrl: `https://localhost:${setting.registryPort}`,
    deploy: (script, ...args) => succeed(`deploy/${script}`, args, env),
    crash: async (container) => {
      const { State } = await engine.docker.getContainer(container).inspect();
      process.kill(State.Pid, "SIGKILL");
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

type Setting = Awaited<ReturnType<typeof settings>>;

async function settings(engine: TestEngine, folder: string, cluster: boolean) {
  const [port, registryPort, natsPort, agentPort] = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
  const joinPort = await freePort();
  const profile = {
    COMPOSE_PROFILES: "cluster",
    STILLPOINT_NATS_2_PORT: `${await freePort()}`,
    STILLPOINT_NATS_3_PORT: `${await freePort()}`,
  };
  const state = join(folder, "state");
  // Working copies may share an engine.
  const tag = `test-${Buffer.from(repository).toString("hex").slice(-24)}`;
  const project = `stillpoint-${process.pid}-${port}`;
  const env = {
    DOCKER_HOST: `unix://${engine.socketPath}`,
    COMPOSE_PROJECT_NAME: project,
    STILLPOINT_STATE: state,
    STILLPOINT_TAG: tag,
    STILLPOINT_BIND: "127.0.0.1",
    STILLPOINT_PORT: `${port}`,
    STILLPOINT_REGISTRY_PORT: `${registryPort}`,
    STILLPOINT_NATS_PORT: `${natsPort}`,
    STILLPOINT_JOIN_PORT: `${joinPort}`,
    OPERATION_TTL_MS: "2000",
    ...(cluster && profile),
  };
  return { port, registryPort, joinPort, natsPort, agentPort, state, tag, project, env };
}

function commandLine(folder: string, { port, registryPort, state }: Setting): CommandLine {
  const files = join(state, "admins", admin);
  const env = {
    STILLPOINT_ADDRESS: `localhost:${port}`,
    STILLPOINT_REGISTRY: `https://localhost:${registryPort}`,
    TLS_CA: join(files, "ca.crt"),
    TLS_CERT: join(files, "tls.crt"),
    TLS_KEY: join(files, "tls.key"),
  };
  const program = join(repository, "bin/stillpoint");
  const stillpoint = (...args: string[]) => runCommand(program, args, { env });
  return {
    folder,
    stillpoint,
    firstLine: (args, fits) => firstLine(program, args, fits, { env }),
    json: async (...args) => JSON.parse(outputOf(args, await stillpoint(...args, "-o", "json"))) as unknown,
  };
}

async function makeAccount({ json, state }: Pick<ComposedProduct, "json" | "state">) {
  const username = `host-${host}`;
  const made = await json("registry", "account", "create", username, "--robot", "--right", "*:pull,push");
  const { secret: password } = made as { secret: string };
  await writeFile(join(state, "hosts", host, "registry-password"), password, { mode: 0o600 });
  return { username, password };
}

/** On all addresses of this machine: containers reach it through their gateway. */
function startAgent(folder: string, { state, agentPort, env: { DOCKER_HOST } }: Setting): AsyncDisposable {
  const log = openSync(join(folder, "agent.log"), "a", 0o600);
  const argv = ["--pdeathsig", "KILL", join(repository, "deploy/agent.sh"), join(state, "hosts", host)];
  const env = {
    ...process.env,
    AGENT_DATA: join(folder, "agent"),
    AGENT_DOCKER_HOST: DOCKER_HOST,
    AGENT_ADDRESS: `0.0.0.0:${agentPort}`,
    AGENT_REACHED_AT: `host.docker.internal:${agentPort}`,
  };
  const child = spawn("setpriv", argv, { stdio: ["ignore", log, log], env });
  closeSync(log);
  return {
    [Symbol.asyncDispose]: async () => {
      const exited = once(child, "exit");
      if (child.exitCode === null && child.signalCode === null && child.kill("SIGTERM")) await exited;
      for (const { pid } of await findQemus(folder)) process.kill(pid, "SIGKILL");
    },
  };
}

async function hostReady(product: CommandLine, folder: string): Promise<void> {
  const isReady = async () => {
    const { hosts = [] } = (await product.json("host", "list")) as { hosts?: { state: string }[] };
    return hosts.some(({ state }) => state === "HOST_STATE_READY");
  };
  await eventually(isReady, { deadlineMs: 60_000, everyMs: 500 }).catch(async (cause: unknown) => {
    await access(join(folder, "agent.log"));
    throw new Error(`the agent did not report:\n${await readFile(join(folder, "agent.log"), "utf8")}`, { cause });
  });
}

async function succeed(program: string, args: readonly string[], env: Record<string, string>): Promise<string> {
  const path = program.includes("/") ? join(repository, program) : program;
  return outputOf([program, ...args], await runCommand(path, args, { env, cwd: repository, timeoutMs: 600_000 }));
}

function outputOf(command: readonly string[], { code, stdout, stderr }: CommandResult): string {
  if (code !== 0) throw new Error(`${command.join(" ")} ended with ${code}: ${stderr.trim()}`);
  return stdout;
}
