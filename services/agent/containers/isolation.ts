import type { ContainerSpec } from "#contracts/container/v1/container";
import { StillpointError } from "#libs/errors";

/** What the operator of a host lets containers do beyond the usual. */
export interface HostPolicy {
  /** Folders below it may be mounted; undefined for none. */
  readonly hostRoot: string | undefined;
  /** Linux capabilities that may be added, without "CAP_". */
  readonly capabilities: ReadonlySet<string>;
}

/** A folder of the host in a container; `path` has no symbolic link in it. */
export interface HostMount {
  readonly path: string;
  readonly readOnly: boolean;
}

const MIB = 2 ** 20;
const SECRETS_PATH = "/run/secrets";
/** Where the engine itself puts what isolates a container. */
const RESERVED = ["/proc", "/sys", "/dev", SECRETS_PATH];

/**
 * Refuses what would let a container see or touch more than its own, or what no engine could do. Everything that is
 * not refused here is said to the engine by a `ContainerRecipe`, which has no word for privileges, devices or the
 * host's namespaces. @throws StillpointError OPTION_FORBIDDEN, ARGUMENT_INVALID
 */
export function refuseForbidden(spec: ContainerSpec, policy: HostPolicy): void {
  for (const name of spec.addCapabilities.map(capabilityName)) {
    if (!policy.capabilities.has(name)) throw forbidden(`the host does not allow the capability ${name}`);
  }
  if (policy.hostRoot === undefined && spec.volumes.some(({ hostPath }) => hostPath !== "")) {
    throw forbidden("the host mounts none of its folders in containers");
  }
  if (spec.isolated && spec.ports.length > 0) throw wrong("an isolated container publishes no ports");
  refuseWrongMounts(spec);
  refuseWrongLimits(spec);
  refuseWrongNames(spec);
}

/** As the engine wants it: without "CAP_", in capitals. */
export function capabilityName(name: string): string {
  return name.toUpperCase().replace(/^CAP_/, "");
}

/**
 * Refuses a folder that stands in one that another container may write to: that one could put a symbolic link in its
 * place, which the engine would follow at the next start. @throws StillpointError OPTION_FORBIDDEN
 */
export function refuseNested(mounts: readonly HostMount[], others: readonly HostMount[]): void {
  for (const mount of mounts) {
    for (const other of [...others, ...mounts]) {
      const isUnder = mount.path.startsWith(`${other.path}/`) && !other.readOnly;
      const isOver = other.path.startsWith(`${mount.path}/`) && !mount.readOnly;
      if (isUnder || isOver) throw forbidden(`a folder in or above ${mount.path} is mounted already`);
    }
  }
}

function refuseWrongMounts({ volumes }: ContainerSpec): void {
  for (const volume of volumes) refuseWrongMount(volume);
  const paths = volumes.map(({ path }) => path);
  const names = volumes.flatMap(({ volume }) => (volume === "" ? [] : [volume]));
  if (new Set(paths).size < paths.length || new Set(names).size < names.length) {
    throw wrong("two volumes have the same name or path");
  }
}

function refuseWrongMount({ volume, hostPath, path }: ContainerSpec["volumes"][number]): void {
  if (!/^(\/[^/\0]+)+$/.test(path) || path.split("/").some((part) => part === "." || part === "..")) {
    throw wrong(`${JSON.stringify(path)} is not an absolute path in the container`);
  }
  if (RESERVED.some((reserved) => path === reserved || path.startsWith(`${reserved}/`))) {
    throw forbidden(`nothing can be mounted at ${path}`);
  }
  if ((volume === "") === (hostPath === "")) throw wrong("a mount is of a volume or of a folder of the host");
  if (!/^([a-z]([a-z0-9-]{0,61}[a-z0-9])?)?$/.test(volume)) {
    throw wrong(`${JSON.stringify(volume)} cannot be the name of a volume`);
  }
}

function refuseWrongLimits({ limits, ports }: ContainerSpec): void {
  const { cpuMillis = 0, memoryBytes = 0, pids = 0 } = limits ?? {};
  const isWithin = (value: number, least: number, most: number) => value === 0 || (value >= least && value <= most);
  if (!isWithin(cpuMillis, 10, 256_000)) throw wrong(`${cpuMillis} is not 10 to 256,000 thousandths of a CPU`);
  if (!isWithin(memoryBytes, 16 * MIB, 4 * 2 ** 40)) throw wrong(`${memoryBytes} bytes are not 16 MiB to 4 TiB`);
  if (!isWithin(pids, 1, 2 ** 22)) throw wrong(`${pids} cannot be a number of processes`);
  for (const port of ports) refuseWrongPort(port);
}

function refuseWrongPort({ hostPort, containerPort, protocol }: ContainerSpec["ports"][number]): void {
  const isPort = (port: number) => Number.isInteger(port) && port >= 1 && port <= 65_535;
  if (!isPort(hostPort) || !isPort(containerPort)) throw wrong(`${hostPort}:${containerPort} are not ports`);
  if (!["", "tcp", "udp"].includes(protocol)) throw wrong(`${protocol} is neither tcp nor udp`);
}

function refuseWrongNames({ env, secrets }: ContainerSpec): void {
  const key = Object.keys(env).find((name) => name === "" || /[=\0]/.test(name));
  if (key !== undefined) throw wrong(`${JSON.stringify(key)} cannot be the name of a variable`);
  const secret = secrets.find(({ name }) => !/^[a-zA-Z0-9._-]{1,63}$/.test(name) || /^\.+$/.test(name));
  if (secret !== undefined) throw wrong(`${JSON.stringify(secret.name)} cannot be the name of a secret`);
}

function wrong(why: string): StillpointError {
  return new StillpointError("ARGUMENT_INVALID", `the container cannot be made: ${why}`);
}

function forbidden(why: string): StillpointError {
  return new StillpointError("OPTION_FORBIDDEN", `the container cannot be made: ${why}`);
}
