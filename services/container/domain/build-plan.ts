/** What a container takes of its host, as far as the scheduler has to know. */
export interface SpecToPlace {
  readonly limits?: { readonly cpuMillis: number; readonly memoryBytes: number } | undefined;
  readonly ports: readonly { readonly hostPort: number }[];
  readonly hostSelector: Readonly<Record<string, string>>;
  readonly host: string;
}

const mebibyte = 2 ** 20;

/** What a limit is that nobody has set. */
export const defaultLimits = { cpuMillis: 1_000, memoryBytes: 256 * mebibyte, pids: 1_024 } as const;

/** The limits with those filled in that were left open. */
export function wholeLimits(asked: Partial<Record<keyof typeof defaultLimits, number>> = {}) {
  const { cpuMillis, memoryBytes, pids } = defaultLimits;
  return {
    cpuMillis: asked.cpuMillis || cpuMillis,
    memoryBytes: asked.memoryBytes || memoryBytes,
    pids: asked.pids || pids,
  };
}

/** What the host has to have for it. What it will write to its volumes nobody knows: no disk is reserved. */
export function requirementsOf({ limits, ports, hostSelector, host }: SpecToPlace) {
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
