import type { Container } from "../container.ts";
import type { Prepared } from "./copy-volumes.ts";
import type { PausedTake } from "./paused-take.ts";

/** A take between the step that pauses its container and the one that lets it go on. */
export interface Held {
  readonly take: PausedTake;
  readonly prepared: Prepared;
}

/** The containers that stand still for a checkpoint. */
export const heldTakes = new WeakMap<Container, Held>();
