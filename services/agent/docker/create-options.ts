import type { ContainerCreateOptions, HostRestartPolicy, MountSettings } from "dockerode";
import { type RestartPolicy, RestartPolicy_Mode } from "#contracts/container/v1/container";
import type { ContainerRecipe, RecipeHealthCheck, RecipeMount } from "../container-engine.ts";
import { labelsOf } from "./labels.ts";

const NANOS = 1e6;

/** Docker's words for a recipe. What a recipe cannot say (privileges, the host's namespaces, devices) is never here. */
export function createOptions(recipe: ContainerRecipe, hostData: string): ContainerCreateOptions {
  const { process, ports, network, hostname } = recipe;
  return {
    name: recipe.uid,
    Image: recipe.image,
    Hostname: hostname,
    Labels: labelsOf(hostData, recipe.uid),
    ...(process.entrypoint.length > 0 && { Entrypoint: process.entrypoint }),
    ...(process.command.length > 0 && { Cmd: process.command }),
    Env: Object.entries(process.env).map(([key, value]) => `${key}=${value}`),
    WorkingDir: process.workingDir,
    User: process.user,
    StopSignal: recipe.stopSignal,
    ExposedPorts: Object.fromEntries(ports.map((port) => [portKey(port), {}])),
    ...(recipe.healthCheck && { Healthcheck: healthCheck(recipe.healthCheck) }),
    HostConfig: hostConfig(recipe, hostData),
    ...(network !== null && { NetworkingConfig: { EndpointsConfig: { [network]: { Aliases: [hostname] } } } }),
  };
}

/** The client's types do not know the option yet. */
type HostConfig = NonNullable<ContainerCreateOptions["HostConfig"]> & { readonly CgroupnsMode: "private" };

function hostConfig(recipe: ContainerRecipe, hostData: string): HostConfig {
  const { memoryBytes, ports } = recipe;
  return {
    Init: true,
    NetworkMode: recipe.network ?? "none",
    IpcMode: "private",
    CgroupnsMode: "private",
    SecurityOpt: ["no-new-privileges"],
    CapAdd: [...recipe.addCapabilities],
    CapDrop: [...recipe.dropCapabilities],
    ReadonlyRootfs: recipe.readOnlyRoot,
    NanoCpus: recipe.cpuMillis * NANOS,
    Memory: memoryBytes,
    MemorySwap: memoryBytes, // memory and swap together
    PidsLimit: recipe.pids,
    Mounts: recipe.mounts.map((mount) => mountOf(mount, hostData, recipe.uid)),
    PortBindings: Object.fromEntries(
      ports.map((port) => [portKey(port), [{ HostIp: "127.0.0.1", HostPort: `${port.hostPort}` }]]),
    ),
    RestartPolicy: { Name: "no" },
    LogConfig: { Type: "json-file", Config: { "max-size": "16m", "max-file": "3" } },
  };
}

/** "always" is Docker's too, as one that is stopped has "no" from then on: Docker would start it at its own start. */
export function restartPolicy({ mode, maxRetries }: RestartPolicy): HostRestartPolicy {
  if (mode === RestartPolicy_Mode.ALWAYS) return { Name: "always" };
  if (mode === RestartPolicy_Mode.ON_FAILURE) return { Name: "on-failure", MaximumRetryCount: maxRetries };
  return { Name: "no" };
}

function mountOf({ source, path, readOnly }: RecipeMount, hostData: string, uid: string): MountSettings {
  const common = { Target: path, ReadOnly: readOnly };
  if ("volume" in source) {
    const VolumeOptions = {
      NoCopy: false,
      Labels: labelsOf(hostData, uid),
      DriverConfig: { Name: "local", Options: {} },
    };
    return { ...common, Type: "volume", Source: source.volume, VolumeOptions };
  }
  return { ...common, Type: "bind", Source: source.hostPath, BindOptions: { Propagation: "rprivate" } };
}

function healthCheck(check: RecipeHealthCheck): ContainerCreateOptions["Healthcheck"] {
  return {
    Test: ["CMD", ...check.command],
    Interval: check.intervalMs * NANOS,
    Timeout: check.timeoutMs * NANOS,
    StartPeriod: check.startPeriodMs * NANOS,
    Retries: check.retries,
  };
}

const portKey = ({ containerPort, protocol }: ContainerRecipe["ports"][number]) => `${containerPort}/${protocol}`;
