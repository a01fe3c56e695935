import type { PlaceResponse } from "#contracts/scheduler/v1/scheduler";
import type { StillpointError } from "#libs/errors";
import type { Reservation } from "../domain/host.ts";

/** What became of a wish: the host that holds it, or why none does. */
export type Answer = PlaceResponse | StillpointError;

/** One wish, while it is decided. */
export interface Open {
  readonly wanted: Reservation;
  /** Replicas that have said no. */
  readonly refusedBy: Set<string>;
}

/** "again": something has changed when it was written; look anew. */
export type Try = Answer | "again";
