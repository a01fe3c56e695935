/** What a container is, as far as it may be bound to its host. */
export interface SpecToMove {
  /** hosts/<host>: there or nowhere; empty for any. */
  readonly host: string;
  readonly volumes: readonly {
    readonly volume: string;
    readonly excludeFromCheckpoints: boolean;
    readonly hostPath: string;
  }[];
}

/** Why a container has to stay on its host; undefined when nothing binds it there. */
export function whyBound({ host, volumes }: SpecToMove, checkpoints: number): string | undefined {
  if (host !== "") return `it has to be on ${host}, as its spec says`;
  const mount = volumes.find(({ hostPath }) => hostPath !== "");
  if (mount !== undefined) return `it mounts the host's folder ${mount.hostPath}`;
  const left = volumes.find(({ excludeFromCheckpoints }) => excludeFromCheckpoints);
  if (left !== undefined) return `its volume ${left.volume} is of no checkpoint, and would be lost`;
  if (checkpoints > 0) return `checkpoints stay on their host, and it has ${checkpoints}`;
  return undefined;
}
