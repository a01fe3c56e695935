/** A checkpoint of a container that is whole in its folder. */
export interface ContainerCheckpoint {
  readonly kind: "production" | "standard" | "offline";
  /** uid of the checkpoint it stands on, for lineage and for what both have in common; null at a root. */
  readonly parent: string | null;
  /** Its writable layer over its image, as the engine knows it. */
  readonly image: string;
  readonly volumes: readonly string[];
  /** Files that have changed at or after it may differ from their copies; milliseconds since 1970. */
  readonly since: number;
  /** Of its writable layer, where that is its own. */
  readonly rootBytes?: number;
  /** The operation that took it. */
  readonly operation: string;
}

/** A take that has begun: nothing of it is kept unless it becomes a checkpoint. */
export interface PendingTake {
  readonly checkpoint: string;
  readonly operation: string;
  /** The container stands still, or is about to, because of it. */
  readonly isPaused: boolean;
}

/** An apply that has passed the point of no return: it is finished by whoever finds it. */
export interface PendingApply {
  readonly checkpoint: string;
  readonly generationId: string;
  /** The volumes whose copies lie beside them. */
  readonly volumes: readonly string[];
}

/** What a container's manifest knows of its checkpoints. */
export interface CheckpointTree {
  readonly checkpoints: Readonly<Record<string, ContainerCheckpoint>>;
  /** The checkpoint that now goes on from, and from when on files may differ from it; null before the first. */
  readonly head: { readonly checkpoint: string; readonly since: number } | null;
  readonly generationId: string;
  readonly pending: PendingTake | null;
  readonly applying: PendingApply | null;
  /** uid of a checkpoint that is on its way from elsewhere: what has come of it stays for the next attempt. */
  readonly receiving?: string;
}
