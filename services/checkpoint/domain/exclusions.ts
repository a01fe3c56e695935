/** A disk that stays out of a checkpoint, and why in words, for the receipt. */
export interface Excluded {
  readonly id: string;
  readonly why: string;
}

/** An additional disk of a VM. */
export interface AdditionalDisk {
  readonly id: string;
  readonly excludeFromCheckpoints: boolean;
}

/** The disks that stay out: those that always do, and those that were asked to this time. In the order of the disks. */
export function excludedDisks(disks: readonly AdditionalDisk[], asked: readonly string[]): Excluded[] {
  return disks.flatMap(({ id, excludeFromCheckpoints }) => {
    if (excludeFromCheckpoints) return [{ id, why: "the VM's checkpoints leave it out" }];
    return asked.includes(id) ? [{ id, why: "it was asked to be left out" }] : [];
  });
}

/** What is wrong with the ids that were asked to stay out, in words; undefined when nothing is. */
export function wrongExclusion(disks: readonly AdditionalDisk[], asked: readonly string[]): string | undefined {
  if (asked.includes("root")) return "the root disk cannot be left out";
  const unknown = asked.find((id) => disks.every((disk) => disk.id !== id));
  if (unknown === undefined) return undefined;
  const known = disks.length === 0 ? "it has no additional disk" : `it has ${disks.map(({ id }) => id).join(", ")}`;
  return `there is no disk ${JSON.stringify(unknown)}: ${known}`;
}
