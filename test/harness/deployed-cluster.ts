import { copyFile, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { eventually } from "#libs/testing";
import { controlPlane, untilListening } from "./api.ts";
import { type CommandResult, firstLine, repository, runCommand } from "./command.ts";
import { DeployedServers, natsNodes, redisNodes, sentinelNodes } from "./deployed-servers.ts";
import { type Machine, type Network, startNetwork } from "./network.ts";
import { type CommandLine, deleteEveryWorkload } from "./product.ts";
import { startProxy } from "./proxy.ts";
import { findQemus } from "./qemu-process.ts";
import { SupervisedProcess } from "./supervised-process.ts";

const controls = ["control-1", "control-2"] as const;
const admin = "ada";
/** Where each service listens, as in docker-compose.yml. */
const ports = {
  operation: 7076,
  scheduler: 7072,
  registry: 7075,
  vm: 7074,
  container: 7077,
  checkpoint: 7073,
} as const;

/**
 * Everything as it is deployed, each in a network namespace with an address of its own: three nodes of NATS, three of
 * Redis with sentinels, two replicas of every service behind nginx, and hosts, with mutual TLS and the users and
 * configurations that deploy/prepare.sh makes.
 */
export interface DeployedCluster extends CommandLine, AsyncDisposable {
  readonly network: Network;
  /** gRPC and registry of the proxy. */
  readonly address: string;
  readonly registryUrl: string;
  /** With which `stillpoint` reaches it. */
  readonly env: Readonly<Record<string, string>>;
  /** By names such as nats-2, redis, sentinel-1, vm-1, proxy, n3. */
  readonly processes: ReadonlyMap<string, SupervisedProcess>;
  /** Folder of deploy/prepare.sh. */
  readonly state: string;
  /** Of the account of the engine, if there is one. */
  readonly engineLogin: { readonly username: string; readonly password: string };
}

export interface DeployedOptions {
  /** Empty, and for this alone. */
  readonly folder: string;
  readonly hosts: readonly string[];
  /** Docker Engine of the first host; the others have none. It trusts the registry until the end. */
  readonly engineSocket?: string | undefined;
  /** Added to the environment of a process, by its name. */
  readonly envOf?: (name: string) => Readonly<Record<string, string>>;
  /** Told what is being done. */
  readonly say?: (what: string) => void;
  /** Ends commands that are under way. */
  readonly signal?: AbortSignal;
}

/** Starts it and waits until its hosts are ready. It needs root. */
export async function startDeployedCluster(options: DeployedOptions): Promise<DeployedCluster> {
  await using stack = new AsyncDisposableStack();
  const { folder, hosts, say = () => undefined } = options;
  const names = [...natsNodes, ...redisNodes, ...sentinelNodes, ...controls, "proxy", ...hosts];
  say(`making ${names.length} network namespaces on a bridge`);
  const network = stack.use(await startNetwork(names, folder));
  // Guests outlive their agents.
  stack.defer(async () => {
    for (const { pid } of await findQemus(folder)) process.kill(pid, "SIGKILL");
  });
  const address = `${network.machine("proxy").address}:7070`;
  const registryUrl = `https://${network.machine("proxy").address}:7080`;
  const state = join(folder, "state");
  const deployment: Deployment = { options, network, state, processes: new Map(), stack };
  say("making certificates, passwords and configurations: deploy/prepare.sh --cluster");
  await prepare(deployment);
  say("starting three nodes of NATS, three Redis servers and three sentinels");
  await new DeployedServers({ ...deployment, run: (...program) => run(deployment, ...program) }).start(folder);
  say("starting two replicas of every service, and nginx");
  await startServices(deployment);
  await startNginx(deployment);

  const files = join(state, "admins", admin);
  const tls = { TLS_CA: join(files, "ca.crt"), TLS_CERT: join(files, "tls.crt"), TLS_KEY: join(files, "tls.key") };
  const env = { STILLPOINT_ADDRESS: address, STILLPOINT_REGISTRY: registryUrl, ...tls };
  const line = commandLine(folder, env, options.signal);
  const engineLogin =
    options.engineSocket === undefined ? nobody : await welcomeEngine(deployment, line, hosts[0] ?? "");
  for (const host of hosts) startAgent(deployment, host);
  endTogether(deployment, env);
  await hostsReady(line, hosts.length);
  const owned = stack.move();
  const { processes } = deployment;
  return {
    ...line,
    network,
    address,
    registryUrl,
    env,
    processes,
    state,
    engineLogin,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

interface Deployment {
  readonly options: DeployedOptions;
  readonly network: Network;
  readonly state: string;
  readonly processes: Map<string, SupervisedProcess>;
  readonly stack: AsyncDisposableStack;
}

/** Every workload is deleted, then all processes are told to end at once. */
function endTogether({ stack, processes }: Deployment, env: Record<string, string>): void {
  stack.defer(() => {
    for (const process of processes.values()) process.end();
  });
  stack.defer(() => deleteEveryWorkload((...args) => runStillpoint(args, env)).catch(() => undefined));
}

async function prepare({ options: { hosts }, network, state }: Deployment): Promise<void> {
  const at = ["--name", network.machine("proxy").address];
  const args = ["--cluster", "--admin", admin, ...at, ...hosts.flatMap((host) => ["--host", host])];
  const path = join(repository, "deploy/prepare.sh");
  const { code, stderr } = await runCommand(path, [...args, "--state", state], { cwd: repository });
  if (code !== 0) throw new Error(`deploy/prepare.sh ended with ${code}: ${stderr.trim()}`);
  for (const host of hosts) {
    // Each node has its own machine here, and so the usual port.
    const url = natsNodes.map((node) => `tls://${node}:4222`).join(",");
    await writeFile(join(state, "hosts", host, "nats-url"), url);
    await writeFile(join(state, "hosts", host, "registry-url"), `https://${network.machine("proxy").address}:7080`);
  }
}

/** Runs a program on a machine, under a name, and again when it dies. */
function run({ options, processes, stack }: Deployment, name: string, machine: Machine, { argv, env }: Program) {
  const what = () => ({ argv: machine.command(argv), env: { ...env, ...options.envOf?.(name) } });
  const running = stack.use(SupervisedProcess.run(what, join(options.folder, `${name}.log`)));
  processes.set(name, running);
  return running;
}

interface Program {
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

async function startServices(deployment: Deployment): Promise<void> {
  const { network, state, options } = deployment;
  await mkdir(join(options.folder, "registry"), { mode: 0o700 });
  for (const service of controlPlane) {
    for (const [index, control] of controls.entries()) {
      const own = join(state, service);
      const env = {
        LOG_LEVEL: "info",
        NATS_URL_FILE: join(own, "nats-url"),
        NATS_MONITOR_URL_FILE: join(own, "nats-monitor-url"),
        REDIS_URL_FILE: join(own, "redis-url"),
        STILLPOINT_ADDRESS: "proxy:7070",
        OPERATION_TTL_MS: "5000",
        ...{ TLS_CA: join(own, "ca.crt"), TLS_CERT: join(own, "tls.crt"), TLS_KEY: join(own, "tls.key") },
        [`${service.toUpperCase()}_ADDRESS`]: `${network.machine(control).address}:${ports[service]}`,
        ...(service === "registry" && {
          ...{ REGISTRY_HTTP_ADDRESS: `${network.machine(control).address}:7080`, REGISTRY_AUTH: "token" },
          REGISTRY_DATA: join(options.folder, "registry"),
        }),
        ...(service === "scheduler" && {
          NATS_ISSUER_SEED_FILE: join(own, "nats-issuer-seed"),
          NATS_SYSTEM_URL_FILE: join(own, "nats-system-url"),
        }),
        ...(service === "checkpoint" && { REGISTRY_HTTP_URL: "https://proxy:7080" }),
        ...(service === "container" && { STILLPOINT_SECRETS_KEY_FILE: join(own, "secrets-key") }),
      };
      const argv = [process.execPath, join(repository, "services", service, "main.ts")];
      run(deployment, `${service}-${index + 1}`, network.machine(control), { argv, env });
    }
    // It alone may make the streams.
    if (service === "operation") await untilListening(at(deployment, ports.operation));
  }
}

/** Where both replicas listen at a port. */
const at = ({ network }: Deployment, port: number): string[] =>
  controls.map((control) => `${network.machine(control).address}:${port}`);

async function startNginx(deployment: Deployment): Promise<void> {
  const { options, network, state, processes, stack } = deployment;
  const upstreams = Object.fromEntries(controlPlane.map((service) => [service, at(deployment, ports[service])]));
  await untilListening([...Object.values(upstreams).flat(), ...at(deployment, 7080)]);
  const proxy = await startProxy({
    place: network.machine("proxy"),
    folder: join(options.folder, "proxy"),
    upstreams: { ...upstreams, "registry-http": at(deployment, 7080) },
    ...{ port: 7070, registryPort: 7080, healthPort: 7090, certificate: join(state, "proxy") },
  });
  processes.set("proxy", stack.use(proxy));
}

const nobody = { username: "", password: "" };

/** An account of the registry for a host's engine, and the authority's certificate where the engine looks for it. */
async function welcomeEngine({ network, state, stack }: Deployment, line: CommandLine, host: string) {
  const username = `host-${host}`;
  const made = await line.json("registry", "account", "create", username, "--robot", "--right", "*:pull,push");
  const { secret: password } = made as { secret: string };
  await writeFile(join(state, "hosts", host, "registry-password"), password, { mode: 0o600 });
  const folder = `/etc/docker/certs.d/${network.machine("proxy").address}:7080`;
  const madeHere = await mkdir(folder, { recursive: true });
  stack.defer(() => rm(madeHere ?? folder, { recursive: true, force: true }));
  await copyFile(join(state, "certificates/ca.crt"), join(folder, "ca.crt"));
  return { username, password };
}

function startAgent(deployment: Deployment, host: string): void {
  const { network, state, options } = deployment;
  const env = {
    AGENT_DATA: join(options.folder, host),
    AGENT_ADDRESS: `${network.machine(host).address}:7071`,
    AGENT_REACHED_AT: `${host}:7071`,
    AGENT_DOCKER_HOST: host === options.hosts[0] && options.engineSocket ? `unix://${options.engineSocket}` : "none",
    AGENT_QEMU_UID: `${200_000 + 10_000 * options.hosts.indexOf(host)}`,
  };
  const argv = [join(repository, "deploy/agent.sh"), join(state, "hosts", host)];
  run(deployment, host, network.machine(host), { argv, env });
}

const program = join(repository, "bin/stillpoint");
const runStillpoint = (args: readonly string[], env: Record<string, string>, signal?: AbortSignal) =>
  runCommand(program, args, { env, ...(signal && { signal }) });

function commandLine(folder: string, env: Record<string, string>, signal: AbortSignal | undefined): CommandLine {
  const stillpoint = async (...args: string[]): Promise<CommandResult> => {
    signal?.throwIfAborted();
    const result = await runStillpoint(args, env, signal);
    signal?.throwIfAborted();
    return result;
  };
  const json = async (...args: string[]): Promise<unknown> => {
    const { code, stdout, stderr } = await stillpoint(...args, "-o", "json");
    if (code !== 0) throw new Error(`stillpoint ${args.join(" ")} ended with ${code}: ${stderr.trim()}`);
    return JSON.parse(stdout) as unknown;
  };
  const options = { env, ...(signal && { signal }) };
  return { folder, stillpoint, json, firstLine: (args, fits) => firstLine(program, args, fits, options) };
}

async function hostsReady(line: CommandLine, count: number): Promise<void> {
  const areReady = async () => {
    const { hosts = [] } = (await line.json("host", "list")) as { hosts?: { state: string }[] };
    return hosts.filter(({ state }) => state === "HOST_STATE_READY").length === count;
  };
  await eventually(areReady, { deadlineMs: 90_000, everyMs: 500 });
}
