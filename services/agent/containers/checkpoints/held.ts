import type { Container } from "../container.ts";
import type { Prepared } from "./copy-volumes.ts";
import type { PausedTake } from "./paused-take.ts";

/** A take between the step that makes it ready and the one that lets its container go on. */
export interface Held {
  readonly checkpointUid: string;
  readonly prepared: Prepared;
  /** Undefined until the container stands still. */
  readonly take: PausedTake | undefined;
}

/** The containers that are about to stand still for a checkpoint, or do. */
export const heldTakes = new WeakMap<Container, Held>();
