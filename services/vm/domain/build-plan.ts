/** The root disk's size: what was asked for, or the image's own; undefined when that would cut the image off. */
export function rootSize(asked: number, imageVirtualSizeBytes: number): number | undefined {
  const wanted = asked === 0 ? imageVirtualSizeBytes : asked;
  return wanted < imageVirtualSizeBytes ? undefined : wanted;
}

/** The additional disks, with their ids: "disk1", "disk2" and so on. */
export function nameDisks<Disk extends object>(disks: readonly Disk[]): (Disk & { readonly id: string })[] {
  return disks.map((disk, i) => ({ ...disk, id: `disk${i + 1}` }));
}
