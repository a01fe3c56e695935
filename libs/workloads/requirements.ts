/** What a VM takes, as far as the arithmetic needs it. Sizes in bytes. */
export interface VmToPlace {
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly rootSizeBytes: number;
  readonly disks: readonly { readonly sizeBytes: number }[];
  readonly ports: readonly { readonly hostPort: number }[];
  readonly hostSelector: Readonly<Record<string, string>>;
  readonly host: string;
}

/** What a container takes of its host, as far as the scheduler has to know. */
export interface ContainerToPlace {
  readonly limits?: { readonly cpuMillis: number; readonly memoryBytes: number } | undefined;
  readonly ports: readonly { readonly hostPort: number }[];
  readonly hostSelector: Readonly<Record<string, string>>;
  readonly host: string;
}

const mebibyte = 2 ** 20;

/** What a limit of a container is that nobody has set. */
const defaultLimits = { cpuMillis: 1_000, memoryBytes: 256 * mebibyte, pids: 1_024 } as const;

/** The limits of a container with those filled in that were left open. */
export function wholeLimits(asked: Partial<Record<keyof typeof defaultLimits, number>> = {}) {
  const { cpuMillis, memoryBytes, pids } = defaultLimits;
  return {
    cpuMillis: asked.cpuMillis || cpuMillis,
    memoryBytes: asked.memoryBytes || memoryBytes,
    pids: asked.pids || pids,
  };
}

/** What the host has to have for a VM. A disk counts whole, although it grows only as it is written to. */
export function vmRequirements(spec: VmToPlace) {
  return {
    cpus: spec.cpus,
    memoryBytes: spec.memoryBytes,
    diskBytes: spec.rootSizeBytes + spec.disks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    hostPorts: spec.ports.map(({ hostPort }) => hostPort),
    hostSelector: { ...spec.hostSelector },
    capabilities: ["qemu"],
    host: spec.host,
  };
}

/** What the host has to have for a container. What it will write to its volumes nobody knows: no disk is reserved. */
export function containerRequirements({ limits, ports, hostSelector, host }: ContainerToPlace) {
  const { cpuMillis, memoryBytes } = wholeLimits(limits);
  return {
    cpuMillis,
    memoryBytes,
    // TCP and UDP may share a number.
    hostPorts: [...new Set(ports.map(({ hostPort }) => hostPort))],
    hostSelector: { ...hostSelector },
    capabilities: ["docker"],
    host,
  };
}
