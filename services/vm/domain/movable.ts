/** What a VM is, as far as it may be bound to its host. */
export interface SpecToMove {
  /** hosts/<host>: there or nowhere; empty for any. */
  readonly host: string;
  readonly disks: readonly { readonly id: string; readonly excludeFromCheckpoints: boolean }[];
}

/** Why a VM has to stay on its host; undefined when nothing binds it there. */
export function whyBound({ host, disks }: SpecToMove, checkpoints: number): string | undefined {
  if (host !== "") return `it has to be on ${host}, as its spec says`;
  const left = disks.find(({ excludeFromCheckpoints }) => excludeFromCheckpoints);
  if (left !== undefined) return `its disk ${left.id} is of no checkpoint, and would be lost`;
  if (checkpoints > 0) return `checkpoints stay on their host, and it has ${checkpoints}`;
  return undefined;
}
