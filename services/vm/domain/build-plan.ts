/** What a VM takes, as far as the arithmetic needs it. Sizes in bytes. */
export interface SpecToBuild {
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly rootSizeBytes: number;
  readonly disks: readonly { readonly sizeBytes: number }[];
  readonly ports: readonly { readonly hostPort: number }[];
  readonly hostSelector: Readonly<Record<string, string>>;
  readonly host: string;
}

/** The root disk's size: what was asked for, or the image's own; undefined when that would cut the image off. */
export function rootSize(asked: number, imageVirtualSizeBytes: number): number | undefined {
  const wanted = asked === 0 ? imageVirtualSizeBytes : asked;
  return wanted < imageVirtualSizeBytes ? undefined : wanted;
}

/** The additional disks, with their ids: "disk1", "disk2" and so on. */
export function nameDisks<Disk extends object>(disks: readonly Disk[]): (Disk & { readonly id: string })[] {
  return disks.map((disk, i) => ({ ...disk, id: `disk${i + 1}` }));
}

/** What the host has to have for it. A disk counts whole, although it grows only as it is written to. */
export function requirementsOf(spec: SpecToBuild) {
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
