import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { TestEngine } from "#libs/testing";
import { runCommand } from "./command.ts";

/** Podman takes no folder for its sockets that is longer than 50 characters; that of a test is. */
const shortPlace = "/tmp/stillpoint-";

/** Runs a client to its end and gives what it printed. @throws with what it said when it fails */
type RunClient = (...args: readonly string[]) => Promise<string>;

/** The command-line clients of registries, with images, logins and settings of their own. */
export interface ImageTools extends AsyncDisposable {
  /** Where tests put files of their own. */
  readonly folder: string;
  readonly docker: RunClient;
  readonly skopeo: RunClient;
  readonly podman: RunClient;
  readonly buildah: RunClient;
  /** One line for each client, and one for Docker's engine. */
  versions(): Promise<string[]>;
}

/**
 * Everything that the clients keep goes with them, but for what containers/image remembers of layers below
 * /var/lib/containers/cache.
 * @param registry host and port; spoken to over plain HTTP
 * @param engineSocket of the Docker engine that the docker client and skopeo speak to
 */
export async function startImageTools(registry: string, engineSocket: string): Promise<ImageTools> {
  const folder = await mkdtemp(shortPlace);
  const env = await settings(folder, registry, engineSocket);
  const tool =
    (program: string, ...options: readonly string[]) =>
    async (...args: readonly string[]) => {
      const { code, stdout, stderr } = await runCommand(program, [...options, ...args], { env, cwd: folder });
      if (code === 0) return stdout.trim();
      throw new Error(`${program} ${args.join(" ")}: exit code ${code}: ${stderr.trim()}`);
    };
  const storage = ["--storage-driver", "overlay", "--root", join(folder, "root"), "--runroot", join(folder, "run")];
  const docker = tool("docker");
  const clients = {
    docker,
    skopeo: tool("skopeo", "--registries-conf", join(folder, "registries.conf")),
    podman: tool("podman", ...storage, "--tmpdir", join(folder, "tmp")),
    buildah: tool("buildah", ...storage),
  };
  const ending = new AsyncDisposableStack();
  ending.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  for (const client of [clients.podman, clients.buildah]) ending.defer(async () => void (await client("rm", "--all")));
  return {
    folder,
    ...clients,
    async versions() {
      const engine = docker("version", "--format", "Docker Engine {{.Server.Version}}");
      return await Promise.all([engine, ...Object.values(clients).map((client) => client("--version"))]);
    },
    [Symbol.asyncDispose]: () => ending.disposeAsync(),
  };
}

/** Skopeo before 1.14.2 speaks version 1.22 of Docker's API, which engines from 25 on refuse. */
export async function hearsSkopeo({ docker }: TestEngine): Promise<boolean> {
  const { MinAPIVersion } = await docker.version();
  const hears = Number(MinAPIVersion.split(".")[1]) <= 22;
  if (!hears) console.warn("skopeo's docker-daemon is not tried: this engine wants a newer API than it may speak");
  return hears;
}

/** Writes what the clients read, with limits below those of any machine, and gives the environment that tells them where it is. */
async function settings(folder: string, registry: string, engineSocket: string): Promise<Record<string, string>> {
  const files = {
    "containers.conf": `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
netns = "none"
[network]
network_config_dir = "${join(folder, "networks")}"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
`,
    "storage.conf": `[storage]
driver = "overlay"
graphroot = "${join(folder, "root")}"
runroot = "${join(folder, "run")}"
`,
    "registries.conf": `[[registry]]
location = "${registry}"
insecure = true
`,
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  return {
    CONTAINERS_CONF: join(folder, "containers.conf"),
    CONTAINERS_STORAGE_CONF: join(folder, "storage.conf"),
    CONTAINERS_REGISTRIES_CONF: join(folder, "registries.conf"),
    REGISTRY_AUTH_FILE: join(folder, "auth.json"),
    DOCKER_CONFIG: join(folder, "docker"),
    DOCKER_HOST: `unix://${engineSocket}`,
  };
}
